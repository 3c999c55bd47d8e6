"""Manifests: which segments make the log, each hash-chained to the one before.

A manifest is published by linking a finished file to the next number, which
fails when another process took the number: put-if-absent.  All of them are kept;
they are small, and the chain is what an auditor follows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from esnb import instants
from esnb.errors import DamagedLogError
from esnb.log.files import put_if_absent, storage_errors
from esnb.log.layout import FORMAT, Layout, read_sealed, sealed_json
from esnb.log.segment import Segment

__all__ = ["Manifest", "chain", "newest", "publish", "read"]


@dataclass(frozen=True)
class Manifest:
    """The sealed part of the log at one moment.

    Positions below `watermark` are in `segments`; newer ones are in the tail.
    """

    number: int
    watermark: int
    segments: tuple[Segment, ...]
    sha256: str | None = None
    previous: str | None = None
    operation: str = "create"
    created: str = ""


EMPTY = Manifest(number=0, watermark=0, segments=())


def read(layout: Layout, number: int) -> Manifest:
    """Read one manifest and check it against its checksum."""
    path = layout.manifest(number)
    try:
        with storage_errors(path, "reading"):
            content = path.read_bytes()
    except FileNotFoundError:
        raise DamagedLogError(path, "the manifest is missing") from None
    manifest = _parse(layout, path, content)
    if manifest.number != number:
        raise DamagedLogError(path, f"it is manifest {manifest.number} under a wrong name")
    return manifest


def _parse(layout: Layout, path: Path, content: bytes) -> Manifest:
    fields = read_sealed(path, content)
    segments = tuple(Segment.from_json(layout.events, entry) for entry in fields["segments"])
    return Manifest(
        number=fields["number"],
        watermark=fields["watermark"],
        segments=segments,
        sha256=hashlib.sha256(content).hexdigest(),
        previous=fields["previous"],
        operation=fields["operation"],
        created=fields["created"],
    )


def newest(layout: Layout, known: Manifest | None = None) -> Manifest:
    """Return the newest manifest; `known` saves reading it again."""
    if known is not None:
        number = known.number
        while layout.has_manifest(number + 1):
            number += 1
        return known if number == known.number else read(layout, number)
    found = numbers(layout)
    return read(layout, found[-1]) if found else EMPTY


def numbers(layout: Layout) -> list[int]:
    """Return the numbers of the manifests that exist, in order."""
    with storage_errors(layout.manifests, "listing the manifests"):
        names = [path.stem for path in layout.manifests.iterdir() if path.suffix == ".json"]
    return sorted(int(name) for name in names if name.isdecimal())


def publish(
    layout: Layout, before: Manifest, segments: Sequence[Segment], watermark: int, operation: str
) -> Manifest:
    """Publish the manifest that follows `before`.

    Raises
    ------
    FileExistsError
        If another process published first.
    OSError
        With ``published`` true when the manifest may be there all the same.
    """
    number = before.number + 1
    ordered = sorted(segments, key=lambda segment: (segment.first, segment.name))
    content = sealed_json(
        {
            "created": instants.iso(instants.now()),
            "format": FORMAT,
            "merkle_root": merkle_root([segment.sha256 for segment in ordered]),
            "number": number,
            "operation": operation,
            "previous": before.sha256,
            "segments": [segment.to_json() for segment in ordered],
            "watermark": watermark,
        }
    )
    path = layout.manifest(number)
    put_if_absent(path, content)
    # Not read back: once it is published nothing may fail any more.
    return _parse(layout, path, content)


def merkle_root(digests: Sequence[str]) -> str:
    """Return the root of the Merkle tree (RFC 6962, section 2.1) over file digests, in hex."""

    def root(leaves: Sequence[bytes]) -> bytes:
        if len(leaves) <= 1:
            return leaves[0] if leaves else hashlib.sha256(b"").digest()
        split = 1 << (len(leaves) - 1).bit_length() - 1
        return hashlib.sha256(b"\x01" + root(leaves[:split]) + root(leaves[split:])).digest()

    return root([hashlib.sha256(b"\x00" + bytes.fromhex(item)).digest() for item in digests]).hex()


def chain(layout: Layout) -> Iterator[Manifest]:
    """Yield every manifest from the first, checking that each names the one before.

    Raises
    ------
    DamagedLogError
        Where the chain breaks.
    """
    before: str | None = None
    found = numbers(layout)
    for expected, number in enumerate(found, start=1):
        if number != expected:
            raise DamagedLogError(layout.manifest(expected), "the manifest is missing")
        manifest = read(layout, number)
        if manifest.previous != before:
            raise DamagedLogError(layout.manifest(number), "it does not follow the one before it")
        before = manifest.sha256
        yield manifest


def paths(manifests: Iterator[Manifest] | Sequence[Manifest]) -> set[Path]:
    """Return every segment file that the manifests name."""
    return {segment.path for manifest in manifests for segment in manifest.segments}
