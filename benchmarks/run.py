"""Run every benchmark in a process of its own and write RESULTS.md."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
NAMES = (
    "append", "read", "xes", "fold", "flow", "write", "sagas", "projections", "simulation",
    "widgets",
)  # fmt: skip
# What is run by hand stands behind what it is part of.
BY_HAND = {"fold": ("fold30",)}


def main() -> None:
    """Run the named benchmarks (all by default), then put the table together."""
    for name in sys.argv[1:] or NAMES:
        if name != "--table":
            subprocess.run([sys.executable, str(HERE / f"{name}.py")], check=True)
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench`. Each figure stands beside its peer or limit from the same run;",
        "medians. Machines differ and are noisy: read the ratios, not the milliseconds.",
        "",
        f"Python {platform.python_version()}, {os.cpu_count()} cores, "
        + ", ".join(f"{p} {version(p)}" for p in ("duckdb", "pyarrow", "numpy")),
        "",
        "| what | figure | beside | its figure | ratio | promise | kept |",
        "| --- | ---: | --- | ---: | ---: | --- | --- |",
    ]
    for name in (each for given in NAMES for each in (given, *BY_HAND.get(given, ()))):
        path = HERE / "results" / f"{name}.json"
        if not path.exists():
            continue
        content = json.loads(path.read_text())
        for row in content["rows"]:
            lines.append(
                f"| {row['what']} | {row['value']:,.4g} {row['unit']} | {row['peer']} "
                f"| {row['peer_value']:,.4g} | {row['ratio']:,.3g} | {row['promise']} "
                f"| {'yes' if row['kept'] else '**no**'} |"
            )
        lines.append(f"| *peak memory of the {name} run* | {content['peak_mb']:,} MB | | | | | |")
    (HERE / "RESULTS.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
