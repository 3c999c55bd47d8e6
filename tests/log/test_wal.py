"""A damaged write-ahead log is told from one that was cut off."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

import pytest

from esnb.errors import DamagedLogError
from esnb.log import wal

COMMITS = 60


def files(folder: Path) -> dict[str, bytes]:
    """Return a database whose newest commits are only in its write-ahead log."""
    path = folder / "made.sqlite"
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("pragma journal_mode=wal")
    db.execute("create table t(number integer primary key, text text)")
    for number in range(COMMITS):
        db.execute("insert into t values (?, ?)", (number, str(number) * 40))
    found = {end: path.with_name(path.name + end).read_bytes() for end in ("", "-wal", "-shm")}
    db.close()
    return found


def put(folder: Path, content: dict[str, bytes]) -> Path:
    path = folder / "t.sqlite"
    for end in ("", "-wal", "-shm"):
        place = path.with_name(path.name + end)
        place.unlink(missing_ok=True)
        if end in content:
            place.write_bytes(content[end])
    return path


def test_a_whole_a_torn_and_an_absent_log_pass(tmp_path: Path) -> None:
    made = files(tmp_path)
    wal.check(put(tmp_path, made))
    wal.check(put(tmp_path, {"": made[""]}))
    whole = made["-wal"]
    for cut in (0, 10, 32, 40, 5000, len(whole) // 2, len(whole) - 1):
        wal.check(put(tmp_path, {"": made[""], "-wal": whole[:cut]}))
        wal.check(put(tmp_path, {"": made[""], "-wal": whole[:cut] + bytes(len(whole) - cut)}))


@pytest.mark.parametrize("shared", [True, False])
def test_a_flipped_bit_is_damage(tmp_path: Path, shared: bool) -> None:
    """With the shared header every flip is found; without it all but those in the last commits."""
    made = files(tmp_path)
    frame = 24 + 4096
    flips = random.Random(7)
    for _ in range(150):
        end = len(made["-wal"]) if shared else len(made["-wal"]) - 2 * 2 * frame
        broken = bytearray(made["-wal"])
        broken[flips.randrange(0 if shared else 32, end)] ^= 1 << flips.randrange(8)
        content = {"": made[""], "-wal": bytes(broken)}
        if shared:
            content["-shm"] = made["-shm"]
        with pytest.raises(DamagedLogError) as caught:
            wal.check(put(tmp_path, content))
        assert caught.value.path.name == "t.sqlite-wal"
