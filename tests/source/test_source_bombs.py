"""Files made to exhaust memory: refused, in a process of its own, within a bound of memory."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

# Rows are staged as fast as they come until the bomb shows, hence more for the others.
XML_MB = 300
OTHERS_MB = 800

# Prints for each file what the import said, and the process's peak of memory so far.
PROGRAM = """
import json, sys
from pathlib import Path
import esnb
others = {
    "stream": "stream", "event_type": "kind",
    "occurred_on": esnb.constant("2026-03-01T10:00:00Z"),
}
for path in map(Path, sys.argv[2:]):
    roles = {} if ".xes" in path.name else others
    with esnb.create(Path(sys.argv[1]) / path.name, maintain=False) as log:
        try:
            said = esnb.import_events(path, log, progress=False, **roles).rejected
        except esnb.EsnbError as error:
            said = str(error)
        assert log.next_position == 0
    # Not ru_maxrss, which begins with what the parent had.
    (peak,) = (line for line in Path("/proc/self/status").read_text().splitlines()
               if line.startswith("VmHWM"))
    peak = int(peak.split()[1]) // 1024
    print(json.dumps([path.name, said, peak]))
"""


def run(folder: Path, paths: list[Path]) -> Iterator[tuple[str, str, int]]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder), *map(str, paths)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for line in done.stdout.splitlines():
        yield tuple(json.loads(line))


def members(path: Path, head: bytes, filler: bytes, count: int) -> Path:
    """Write a gzip file whose middle is one packed member, many times over."""
    packed = gzip.compress(filler)
    with path.open("wb") as file:
        file.write(gzip.compress(head))
        for _ in range(count):
            file.write(packed)
    return path


MANY = 256  # of 16 MB


def xml_bombs(folder: Path) -> dict[str, tuple[Path, str]]:
    laughs = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 30))
    plain = {
        "laughs": (f'<!DOCTYPE log [<!ENTITY a0 "ha">{laughs}]><log>&a29;</log>', "DOCTYPE"),
        "quadratic": (
            f'<!DOCTYPE log [<!ENTITY a "{"x" * 100_000}">]><log>{"&a;" * 100_000}</log>',
            "DOCTYPE",
        ),
        "external": ('<!DOCTYPE log SYSTEM "file:///etc/passwd"><log/>', "DOCTYPE"),
        "parameter": (
            '<!DOCTYPE log [<!ENTITY % a SYSTEM "http://127.0.0.1:1/x">%a;]><log/>',
            "DOCTYPE",
        ),
        "deep": ("<log>" + "<a>" * 5_000_000, "nested more than 64"),
        "deep in an event": (
            "<log><trace><event>" + '<list key="a">' * 2_000_000,
            "nested more than 64",
        ),
        "lists in lists": (
            "<log><trace><event>" + '<list key="a"><values>' * 1_000_000,
            "nested more than 64",
        ),
    }
    found = {}
    for name, (text, words) in plain.items():
        path = folder / f"{name}.xes"
        path.write_text(text)
        found[path.name] = (path, words)
    filler = b"x" * (16 << 20)
    for name, head in {
        "endless value": b'<log><trace><event><string key="kind" value="',
        "endless tag": b"<log><",
        "endless text": b"<log><trace><event>",
    }.items():
        path = members(folder / f"{name}.xes.gz", head, filler, MANY)
        found[path.name] = (path, "bomb")
    return found


def other_bombs(folder: Path) -> dict[str, tuple[Path, str]]:
    filler = b"x" * (16 << 20)
    good, bad = b"a,b\n" * 4_000_000, b"a,\n" * 5_000_000
    head = b"stream,kind\n"
    found = {
        "cell.csv.gz": (head + b"a,", filler, "bomb"),
        "rows.csv.gz": (head, good, "bomb"),
        "no events.csv.gz": (head, bad, "none of the first 1,000,000 rows is an event"),
        "line.jsonl.gz": (b'{"stream":"', filler, "bomb"),
        "blank.jsonl.gz": (b"", b"\n" * (16 << 20), "no column 'stream'"),
    }
    made = {
        name: (members(folder / name, first, middle, MANY), words)
        for name, (first, middle, words) in found.items()
    }
    with (
        zipfile.ZipFile(folder / "zip.csv.zip", "w", zipfile.ZIP_DEFLATED) as packed,
        packed.open("zip.csv", "w") as member,
    ):
        member.write(head)
        for _ in range(8):
            member.write(good)
    made["zip.csv.zip"] = (folder / "zip.csv.zip", "bomb")
    # Dictionaries: 3 million rows of 1 MB each in a few thousand bytes.
    at = pa.array([0] * 3_000_000, pa.int32())
    text, names = (pa.DictionaryArray.from_arrays(at, [word]) for word in ("x" * (1 << 20), "a"))
    table = pa.table({"stream": names, "kind": names, "text": text})
    pq.write_table(table, folder / "rows.parquet", compression="zstd")
    made["rows.parquet"] = (folder / "rows.parquet", "bomb")
    return made


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize(("make", "limit"), [(xml_bombs, XML_MB), (other_bombs, OTHERS_MB)])
def test_bombs_are_refused_in_little_memory(tmp_path: Path, make: object, limit: int) -> None:
    files = make(tmp_path)  # type: ignore[operator]
    assert max(path.stat().st_size for path, _ in files.values()) < 32 << 20
    logs = tmp_path / "logs"
    logs.mkdir()
    said = list(run(logs, [path for path, _ in files.values()]))
    assert [name for name, _, _ in said] == list(files)
    for name, text, peak in said:
        _, words = files[name]
        assert words in str(text), (name, text)
        assert peak < limit, (name, peak)
