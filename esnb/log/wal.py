"""Telling a damaged write-ahead log from one that was merely cut off.

SQLite reads its log up to the first frame whose checksum fails and takes the
rest for the torn end of a crash.  After a flipped bit that would lose
acknowledged events without a word, so the log is looked at before SQLite is:

- the shared-memory header names the last frame that was synced; fewer good
  frames than that are damage (a killed process leaves the header behind);
- without it, a whole commit behind the bad end of another is damage, and so are two
  behind any bad frame, because a commit begins only when the one before is on the disk.

Layout and checksum: "WAL-mode File Format", https://sqlite.org/walformat.html
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from esnb.errors import DamagedLogError
from esnb.log.files import storage_errors

__all__ = ["check"]

_HEADER = 32
_FRAME = 24
_MAGIC = 0x377F0682  # the last bit tells the byte order of the checksums

Words = npt.NDArray[np.uint32]


def check(database: Path) -> None:
    """Raise `DamagedLogError` if the write-ahead log of `database` is damaged.

    An absent, empty or torn log passes.  Not to be called while this process has the
    database open: closing any handle of a file gives up the locks that SQLite holds on it.
    """
    path = database.with_name(database.name + "-wal")
    shared = database.with_name(database.name + "-shm")
    for _ in range(3):
        # In this order: what the index calls synced by now is in the content read after it.
        index = _read(shared)[:136]
        content = _read(path)
        if len(content) <= _HEADER or _read(path)[:_HEADER] != content[:_HEADER]:
            if len(content) <= _HEADER:
                return
            continue  # another process began the log anew meanwhile
        if _damaged(content, index):
            if _read(path)[:_HEADER] != content[:_HEADER]:
                continue
            raise DamagedLogError(path, "a commit in it does not match its checksum")
        return


def _read(path: Path) -> bytes:
    try:
        with storage_errors(path, "reading"):
            return path.read_bytes()
    except FileNotFoundError:
        return b""


def _damaged(content: bytes, index: bytes) -> bool:
    magic, _, page, _, salt1, salt2, sum1, sum2 = struct.unpack(">8I", content[:_HEADER])
    order = ">" if magic & 1 else "<"
    header = np.frombuffer(content[:24], order + "u4").astype(np.uint32)
    sound = _sum(header[None, :], _NOTHING)[0].tolist() == [sum1, sum2]
    if magic & ~1 != _MAGIC or page < 512 or not sound:
        # A log being begun anew may have a torn header, but then nothing is synced in it.
        return bool(_synced_frames(index, None))
    synced = _synced_frames(index, (salt1, salt2))
    size = _FRAME + page
    count = (len(content) - _HEADER) // size
    if count == 0:
        return bool(synced)
    raw = np.frombuffer(content, np.uint8, count * size, _HEADER).reshape(count, size)
    heads = raw[:, :_FRAME].copy().view(">u4").astype(np.uint32)
    covered = np.concatenate([raw[:, :8], raw[:, _FRAME:]], axis=1)
    words = np.ascontiguousarray(covered).view(order + "u4").astype(np.uint32)
    stored = heads[:, 4:6]
    before = np.concatenate([np.array([[sum1, sum2]], np.uint32), stored[:-1]])
    good = (_sum(words, before) == stored).all(axis=1)
    good &= (heads[:, 2] == salt1) & (heads[:, 3] == salt2)
    bad = np.flatnonzero(~good)
    if not len(bad):
        return synced is not None and synced > count
    first = int(bad[0])
    if synced is not None:
        # Frames behind the last synced one may be anything: a killed writer's, half overwritten.
        return synced > first
    commits = np.flatnonzero(good & (heads[:, 1] != 0))
    later = commits[commits > first]
    # A bad frame that was itself the end of a commit, with a whole commit behind it.
    known = (heads[:, 2] == salt1) | (heads[:, 3] == salt2)
    ends = np.flatnonzero(~good & known & (heads[:, 1] != 0))
    return len(later) >= 2 or bool(len(later) and len(ends) and ends[0] < later[-1])


def _synced_frames(index: bytes, salts: tuple[int, int] | None) -> int | None:
    """Return the number of synced frames that the shared-memory header tells, if it is sound."""
    for copy in (index[:48], index[48:96]):
        if len(copy) < 48:
            continue
        fields = struct.unpack("=10I", copy[:40])
        words = np.frombuffer(copy[:40], "=u4").astype(np.uint32)
        checksum = struct.unpack("=2I", copy[40:48])
        if tuple(_sum(words[None, :], _NOTHING)[0].tolist()) != checksum:
            continue
        if salts is None or struct.unpack(">2I", copy[32:40]) == salts:
            return int(fields[4])
    return None


# --- the checksum, for many frames at once ---------------------------------------------------
#
# A step takes a pair of words (x0, x1): s0 += x0 + s1; s1 += x1 + s0, modulo 2**32.  That is
# linear, s' = M s + B x with M = [[1, 1], [1, 2]] and B = [[1, 0], [1, 1]], so that the sum of
# n pairs is M**n s + Σ M**(n-1-i) B x_i: one product of matrices for all frames.

_NOTHING = np.zeros((1, 2), np.uint32)


def _sum(words: Words, start: Words) -> Words:
    """Return the checksums of rows of words, each begun with a pair of `start`."""
    pairs = words.shape[1] // 2
    weights, power = _weights(pairs)
    with np.errstate(over="ignore"):
        result: Any = words @ weights + start @ power.T
    return np.asarray(result, dtype=np.uint32)


_KNOWN: dict[int, tuple[Words, Words]] = {}


def _weights(pairs: int) -> tuple[Words, Words]:
    if pairs not in _KNOWN:
        mask = 0xFFFFFFFF
        a, b, c, d = 1, 0, 0, 1  # M**0
        columns: list[tuple[tuple[int, int], tuple[int, int]]] = []
        for _ in range(pairs):
            # (M**k) B, as the weights of x0 and of x1 in (s0, s1)
            columns.append((((a + b) & mask, (c + d) & mask), (b, d)))
            a, b, c, d = (a + c) & mask, (b + d) & mask, (a + 2 * c) & mask, (b + 2 * d) & mask
        weights = np.array([weight for pair in reversed(columns) for weight in pair], np.uint32)
        _KNOWN[pairs] = weights, np.array([[a, b], [c, d]], np.uint32)
    return _KNOWN[pairs]
