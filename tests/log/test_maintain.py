"""Sealing, compaction, backup, restore, formats: nothing is lost, everything is named."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from esnb.errors import (
    DamagedLogError,
    LogError,
    LogExistsError,
    LogFormatError,
    LogNotFoundError,
)
from esnb.event import DomainEvent
from esnb.log import Log
from esnb.log.backup import restore
from esnb.log.layout import Layout, sealed_json

GOLDEN = Path(__file__).parent / "golden"


def fill(log: Log, count: int, start: int = 0) -> None:
    with log.batch():
        for number in range(start, start + count):
            log.append(
                f"order-{number % 7}", DomainEvent("T", {"n": number}, event_id=f"e{number}")
            )


def numbers(log: Log) -> list[int]:
    return [event.data["n"] for event in log.read()]


def files(log: Log) -> list[Path]:
    return sorted((log.path / "events").rglob("*.parquet"))


def test_segments_are_sorted_and_checked(log: Log) -> None:
    fill(log, 100)
    log.seal()
    (path,) = files(log)
    table = pq.read_table(path, partitioning=None, page_checksum_verification=True)
    keys = list(zip(table["stream"].to_pylist(), table["revision"].to_pylist(), strict=True))
    assert keys == sorted(keys)
    assert path.name.startswith("000000000000-000000000099-")
    meta = pq.ParquetFile(path).metadata.row_group(0)
    assert {meta.column(i).compression for i in range(meta.num_columns)} == {"ZSTD"}


def test_readers_keep_their_view_through_seals_and_compaction(log: Log) -> None:
    fill(log, 50)
    before = log.snapshot()
    reading = log.read()
    first = [next(reading) for _ in range(10)]
    for step in range(1, 10):
        log.seal()
        fill(log, 10, step * 50)
    log.compact()
    assert [e.data["n"] for e in first] + [e.data["n"] for e in reading] == list(range(50))
    assert before.tail.num_rows == 50
    assert len(log.snapshot().segments) == 1
    assert len(numbers(log)) == 140


def test_old_files_go_after_the_grace(log: Log) -> None:
    for step in range(3):
        fill(log, 10, step * 10)
        log.seal()
    assert log.compact() == 2
    assert len(files(log)) == 4
    assert log.compact(grace=0) == 0
    assert len(files(log)) == 1
    assert numbers(log) == list(range(30))
    assert log.verify().ok


def test_unfinished_files_are_cleaned_up(log: Log) -> None:
    fill(log, 10)
    log.seal()
    month = files(log)[0].parent
    (month / ".tmp-1-dead").write_bytes(b"half")
    shutil.copy(files(log)[0], month / "000000000000-000000000009-aaaaaaaaaaaa.parquet")
    assert len(numbers(log)) == 10  # never a glob
    log.compact(grace=0)
    assert [path.name for path in month.iterdir()] == [files(log)[0].name]


def test_the_log_seals_by_itself(tmp_path: Path) -> None:
    with Log.create(tmp_path / "log") as log:
        for start in range(0, 30_720, 256):
            fill(log, 256, start)
            log.append("order-9", DomainEvent("T", {"n": -1}))
        deadline = time.monotonic() + 30
        while log.info().sealed < 10_000 and time.monotonic() < deadline:
            log.append("order-9", DomainEvent("T", {"n": -1}))
        assert log.info().sealed >= 10_000
        assert log.verify().ok


def test_closing_seals(tmp_path: Path) -> None:
    with Log.create(tmp_path / "log") as log:
        fill(log, 10)
    with Log.open(tmp_path / "log", read_only=True) as log:
        assert log.info().sealed == 10
        assert numbers(log) == list(range(10))


def test_an_import_that_died_before_the_heads_is_taken_in(log: Log) -> None:
    """The manifest is published, tail.sqlite knows nothing of it: the next writer catches up."""
    fill(log, 20)
    log.seal()
    tail = Layout(log.path).tail
    log.close()
    old = tail.read_bytes()
    with Log.open(log.path) as again:
        fill(again, 20, 20)
    tail.write_bytes(old)
    for suffix in ("-wal", "-shm"):
        tail.with_name(tail.name + suffix).unlink(missing_ok=True)
    with Log.open(log.path) as behind:
        assert numbers(behind) == list(range(40))
        revisions = [e.revision for e in behind.read_stream("order-3")]
        (made,) = behind.append(
            "order-3", DomainEvent("T", {"n": 40}), expected_revision=revisions[-1]
        )
        assert made.position == 40
        assert behind.verify().ok


def test_id_indexes_are_built_again(log: Log) -> None:
    fill(log, 100)
    log.seal()
    fill(log, 1, 100)
    log.seal()  # now the first hundred are in their segment only
    shutil.rmtree(log.path / "derived")
    with Log.open(log.path) as again:
        assert again.event("e7").data["n"] == 7  # type: ignore[union-attr]
    index = max((log.path / "derived" / "ids").iterdir(), key=lambda path: path.stat().st_size)
    index.write_bytes(index.read_bytes()[:-3] + b"abc")
    with Log.open(log.path) as again:
        first = next(again.read_stream("order-0"))
        with again.batch():
            (same,) = again.append(
                "order-0",
                DomainEvent("T", {"n": 0}, event_id="e0", occurred_on=first.occurred_on),
            )
        assert same == first
        assert again.next_position == 101


# --- backup and restore ------------------------------------------------------------------------


def test_backup_is_a_log_and_grows(log: Log, tmp_path: Path) -> None:
    fill(log, 30)
    log.seal()
    fill(log, 5, 30)
    copy = log.backup(tmp_path / "backup")
    with Log.open(copy, read_only=True) as other:
        assert numbers(other) == list(range(35))
        assert other.verify().ok
        assert other.log_id == log.log_id
    kept = {path: path.stat().st_mtime_ns for path in (copy / "events").rglob("*.parquet")}
    log.seal()
    fill(log, 5, 35)
    log.backup(copy)
    assert all(path.stat().st_mtime_ns == at for path, at in kept.items())
    restore(copy, tmp_path / "restored")
    with Log.open(tmp_path / "restored") as again:
        assert numbers(again) == list(range(40))
        assert again.verify().ok
        again.append("order-1", DomainEvent("T", {"n": 40}))


def test_backup_while_others_write(log: Log, tmp_path: Path) -> None:
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            log.append(f"order-{number % 5}", DomainEvent("T", {"n": number}))
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for round_ in range(5):
            log.seal()
            copy = log.backup(tmp_path / f"backup-{round_}")
            with Log.open(copy, read_only=True) as other:
                assert numbers(other) == list(range(other.next_position))
    finally:
        stop.set()
        writer.join()


@pytest.mark.parametrize("damage", ["missing", "short", "flipped", "manifest", "identity"])
def test_restore_names_what_is_wrong(log: Log, tmp_path: Path, damage: str) -> None:
    fill(log, 30)
    log.seal()
    copy = log.backup(tmp_path / "backup")
    victim = next((copy / "events").rglob("*.parquet"))
    if damage == "missing":
        victim.unlink()
    elif damage == "short":
        victim.write_bytes(victim.read_bytes()[:-100])
    elif damage == "flipped":
        content = bytearray(victim.read_bytes())
        content[100] ^= 1
        victim.write_bytes(content)
    elif damage == "manifest":
        victim = copy / "manifest" / "000000000001.json"
        victim.write_text(victim.read_text().replace('"rows": 30', '"rows": 31'))
    else:
        victim = copy / "log.json"
        victim.write_text(victim.read_text().replace("null", '"UTC"'))
        if '"UTC"' in victim.read_text():
            victim.write_text(victim.read_text().replace("UTC", "UTD"))
    with pytest.raises(DamagedLogError) as caught:
        restore(copy, tmp_path / "restored")
    assert caught.value.path == victim
    assert not (tmp_path / "restored").exists()


def test_backup_refuses_a_wrong_place(log: Log, tmp_path: Path) -> None:
    fill(log, 1)
    with Log.create(tmp_path / "other"), pytest.raises(LogExistsError, match="another log"):
        log.backup(tmp_path / "other")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("mine")
    with pytest.raises(LogError, match="not empty"):
        log.backup(tmp_path / "full")
    with pytest.raises(LogNotFoundError):
        restore(tmp_path / "full", tmp_path / "restored")


# --- damage and formats ------------------------------------------------------------------------


def test_a_newer_format_is_refused_before_anything(log: Log) -> None:
    fill(log, 10)
    log.close()
    path = log.path / "log.json"
    fields = json.loads(path.read_text())
    del fields["checksum"]
    path.write_bytes(sealed_json(fields | {"format": 2}))
    before = {p: p.read_bytes() for p in sorted(log.path.rglob("*")) if p.is_file()}
    with pytest.raises(LogFormatError, match=r"format 2.*newer esnb"):
        Log.open(log.path)
    assert {p: p.read_bytes() for p in sorted(log.path.rglob("*")) if p.is_file()} == before


def test_a_manifest_that_is_gone(log: Log) -> None:
    fill(log, 10)
    log.seal()
    fill(log, 10, 10)
    log.seal()
    newest = log.path / "manifest" / "000000000002.json"
    newest.rename(log.path / "hidden")
    with pytest.raises(DamagedLogError, match=r"000000000002\.json.*missing"):
        Log.open(log.path)
    (log.path / "hidden").rename(newest)
    (log.path / "manifest" / "000000000001.json").unlink()
    report = log.verify()
    assert [found.path.name for found in report.findings] == ["000000000001.json"]
    assert "damaged" in str(report)


def test_verify_finds_wrong_heads(log: Log) -> None:
    import sqlite3

    from esnb.log.tail import checksum

    fill(log, 21)
    log.close()
    db = sqlite3.connect(log.path / "tail.sqlite")
    wrong = ("order-3", 7, 10)
    db.execute(
        "update heads set revision=?, position=?, checksum=? where stream=?",
        (*wrong[1:], checksum(wrong), wrong[0]),
    )
    db.commit()
    db.close()
    with Log.open(log.path) as again:
        report = again.verify()
    assert [found.problem for found in report.findings] == [
        "the head of stream 'order-3' is not its newest event"
    ]


def test_verify_once_remembers_and_always_does_not(log: Log) -> None:
    fill(log, 10)
    log.seal()
    (path,) = files(log)
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[200] ^= 4
    with path.open("r+b") as file:
        file.write(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with (
        Log.open(log.path, verify="always") as strict,
        pytest.raises(DamagedLogError, match="SHA-256"),
    ):
        list(strict.read())
    os.utime(path)
    with Log.open(log.path) as usual, pytest.raises(DamagedLogError, match="SHA-256"):
        list(usual.read())


def test_logs_of_every_past_format_open(tmp_path: Path) -> None:
    """The golden logs were written by the first version of each format and never change."""
    for golden in sorted(GOLDEN.iterdir()):
        copy = tmp_path / golden.name
        shutil.copytree(golden, copy)
        with Log.open(copy) as log:
            expected = json.loads((golden.parent / golden.name / "expected.json").read_text())
            found = [[e.stream, e.revision, e.event_type, e.data_text] for e in log.read()]
            assert found == expected
            assert log.verify().ok
            log.append("order-1", DomainEvent("Appended"))
