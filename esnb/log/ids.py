"""Which event ids are in the sealed part: a small sorted index beside each segment.

An id is known by a 64-bit key; a hit is only a hint and is confirmed in the segment.
The files are derived: one that is missing or damaged is built again.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from esnb.log import files
from esnb.log.rawtext import raw_chunks
from esnb.log.segment import Segment, read_segment

__all__ = ["Hashes", "IdIndex", "hash_of", "hashes", "present"]

Hashes = npt.NDArray[np.uint64]
_HEADER = 16
_FORMAT = b"ids 2"
_ODD = 0x9E3779B97F4A7C15  # 2**64 over the golden ratio: its bits are well mixed
_ALL = 2**64 - 1


def hash_of(event_id: str) -> int:
    """Return the 64-bit key of one id."""
    text = event_id.encode()
    key = len(text)
    for start in range(0, len(text), 8):
        word = int.from_bytes(text[start : start + 8], "little")
        key = (key ^ word) * _ODD & _ALL
        key ^= key >> 32
    return key


def hashes(ids: pa.Array | pa.ChunkedArray) -> Hashes:
    """Return the 64-bit keys of many ids, in their order: `hash_of`, word by word for all."""
    chunks = [_hashes(held, ends) for held, ends in raw_chunks(ids)]
    return np.concatenate([np.empty(0, np.uint64), *chunks])


def _hashes(held: npt.NDArray[np.uint8], ends: npt.NDArray[np.int64]) -> Hashes:
    lengths = np.diff(ends)
    length = int(lengths[0])
    if length >= 8 and bool((lengths == length).all()):
        return _hashes_alike(held, len(lengths), length)
    # Eight bytes more, so that a word can be read at the start of every last one.
    padded = np.concatenate([held, np.zeros(8, np.uint8)])
    words = np.ndarray(len(held) + 1, "<u8", buffer=padded, strides=(1,))
    starts = ends[:-1]
    keys: Hashes = lengths.astype(np.uint64)
    shortest, longest = int(lengths.min()), int(lengths.max())
    for at in range(0, longest, 8):
        if at + 8 <= shortest:
            keys = _mixed(keys, words[starts + at])
            continue
        left = np.clip(lengths - at, 0, 8)
        rows = np.flatnonzero(left)
        unused = ((8 - left[rows]) * 8).astype(np.uint64)
        keys[rows] = _mixed(keys[rows], words[starts[rows] + at] << unused >> unused)
    return keys


def _hashes_alike(held: npt.NDArray[np.uint8], count: int, length: int) -> Hashes:
    """Return the keys of ids of one length, such as UUIDs: their words stand at equal distances."""
    keys = np.full(count, length, np.uint64)
    for at in range(0, length, 8):
        start = min(at, length - 8)
        words = np.ndarray(count, "<u8", buffer=held, offset=start, strides=(length,))
        # Of the last word, only what the one before did not hold.
        keys ^= words >> np.uint64(8 * (at - start))
        keys *= np.uint64(_ODD)
        keys ^= keys >> np.uint64(32)
    return keys


def _mixed(keys: Hashes, words: Hashes) -> Hashes:
    keys = (keys ^ words) * np.uint64(_ODD)
    return keys ^ (keys >> np.uint64(32))


class IdIndex:
    """The ids of the sealed events.

    Parameters
    ----------
    folder
        Where the index files are kept; where nothing can be written they live in memory.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._loaded: dict[str, Hashes] = {}

    def add(self, segment: Segment, ids: pa.Array | pa.ChunkedArray) -> Hashes:
        """Index the ids of a segment; return their keys, sorted."""
        return self.add_keys(segment, hashes(ids))

    def add_keys(self, segment: Segment, keys: Hashes) -> Hashes:
        """Index a segment by the keys of its ids, in any order; return them sorted."""
        keys = np.sort(keys)
        # Derived: a full or read-only disk costs memory and time later, nothing else.
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            unfinished = files.temporary(self._folder)
            try:
                content = keys.tobytes()
                header = _header(segment, content)
                unfinished.write_bytes(header + content)
                unfinished.rename(self._path(segment))
            finally:
                unfinished.unlink(missing_ok=True)
        except OSError:
            self._loaded[segment.sha256] = keys
        return keys

    def holding(self, event_id: str, segments: Sequence[Segment]) -> list[Segment]:
        """Return the segments that may hold an id (one in 2**64 is a false alarm)."""
        key = np.uint64(hash_of(event_id))
        found = []
        for segment in segments:
            keys = self._keys(segment)
            place = int(keys.searchsorted(key))
            if place < len(keys) and keys[place] == key:
                found.append(segment)
        return found

    def holding_any(self, keys: Hashes, segments: Sequence[Segment]) -> list[Segment]:
        """Return the segments that may hold any of the ids with these keys."""
        wanted = np.sort(keys) if segments else keys
        return [s for s in segments if bool(present(wanted, self._keys(s)).any())]

    def maybe(self, ids: Sequence[str], segments: Sequence[Segment]) -> set[str]:
        """Return those of some ids that the segments may hold."""
        if not segments or not ids:
            return set()
        keys = hashes(pa.array(ids, pa.string()))
        order = np.argsort(keys)
        wanted = keys[order]
        found = np.zeros(len(ids), np.bool_)
        for segment in segments:
            found |= present(wanted, self._keys(segment))
        return {ids[place] for place in order[found].tolist()}

    def keep(self, segments: Sequence[Segment]) -> None:
        """Drop the index files of segments that are no more."""
        wanted = {self._path(segment) for segment in segments}
        with suppress(OSError):
            for path in self._folder.glob("*.ids"):
                if path not in wanted:
                    path.unlink(missing_ok=True)
        alive = {segment.sha256 for segment in segments}
        self._loaded = {name: keys for name, keys in self._loaded.items() if name in alive}

    def _keys(self, segment: Segment) -> Hashes:
        keys = self._loaded.get(segment.sha256)
        if keys is None:
            keys = _load(self._path(segment), segment)
            if keys is None:
                keys = self.add(segment, read_segment(segment, ["event_id"])["event_id"])
            self._loaded[segment.sha256] = keys
        return keys

    def _path(self, segment: Segment) -> Path:
        return self._folder / f"{segment.sha256[:32]}.ids"


def _header(segment: Segment, body: bytes) -> bytes:
    """Return what tells that a file is whole, and the index of this very segment."""
    bound = zlib.crc32(body, zlib.crc32(_FORMAT + segment.sha256.encode()))
    return bound.to_bytes(8, "little") + (len(body) // 8).to_bytes(8, "little")


def _load(path: Path, segment: Segment) -> Hashes | None:
    try:
        content = path.read_bytes()
    except OSError:
        return None
    body = content[_HEADER:]
    if content[:_HEADER] != _header(segment, body) or len(body) != 8 * segment.rows:
        return None
    return np.frombuffer(body, dtype=np.uint64)


def present(wanted: Hashes, keys: Hashes) -> npt.NDArray[np.bool_]:
    """Tell for each sorted `wanted` whether it is among the sorted `keys`."""
    if not len(keys):
        return np.zeros(len(wanted), dtype=np.bool_)
    place = np.minimum(keys.searchsorted(wanted), len(keys) - 1)
    return np.asarray(keys[place] == wanted, dtype=np.bool_)
