"""Which event ids are in the sealed part: a small sorted index beside each segment.

An id is known by the low half of its MD5, which DuckDB and Python compute alike;
a hit is only a hint and is confirmed in the segment.  The files are derived: one
that is missing or damaged is built again.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from esnb.log import files
from esnb.log.segment import Segment, read_segment

__all__ = ["Hashes", "IdIndex", "hash_of", "hashes"]

Hashes = npt.NDArray[np.uint64]
_HEADER = 16


def hash_of(event_id: str) -> int:
    """Return the 64-bit key of one id."""
    full = hashlib.md5(event_id.encode(), usedforsecurity=False).digest()
    return int.from_bytes(full[8:], "little")


def hashes(ids: pa.Array | pa.ChunkedArray) -> Hashes:
    """Return the 64-bit keys of many ids, in their order."""
    frame = pa.table({"id": ids})
    with duckdb.connect(config={"threads": 2}) as connection:
        connection.register("frame", frame)
        found = connection.execute("select md5_number_lower(id) as key from frame").fetchnumpy()
    return np.asarray(found["key"], dtype=np.uint64)


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

    def add(self, segment: Segment, ids: pa.Array | pa.ChunkedArray) -> None:
        """Index the ids of a segment."""
        self.add_keys(segment, hashes(ids))

    def add_keys(self, segment: Segment, keys: Hashes) -> None:
        """Index a segment by the keys of its ids, in any order."""
        keys = np.sort(keys)
        self._loaded[segment.sha256] = keys
        # Derived: a full or read-only disk costs time later, nothing else.
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            unfinished = files.temporary(self._folder)
            try:
                content = keys.tobytes()
                header = _header(segment, content)
                unfinished.write_bytes(header + content)
                unfinished.rename(self._path(segment))
            finally:
                unfinished.unlink(missing_ok=True)

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
        return [s for s in segments if bool(_present(wanted, self._keys(s)).any())]

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
                self.add(segment, read_segment(segment, ["event_id"])["event_id"])
                return self._loaded[segment.sha256]
            self._loaded[segment.sha256] = keys
        return keys

    def _path(self, segment: Segment) -> Path:
        return self._folder / f"{segment.sha256[:32]}.ids"


def _header(segment: Segment, body: bytes) -> bytes:
    """Return what tells that a file is whole, and the index of this very segment."""
    bound = zlib.crc32(body, zlib.crc32(segment.sha256.encode()))
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


def _present(wanted: Hashes, keys: Hashes) -> npt.NDArray[np.bool_]:
    """Tell for each sorted `wanted` whether it is among the sorted `keys`."""
    if not len(keys):
        return np.zeros(len(wanted), dtype=np.bool_)
    place = np.minimum(keys.searchsorted(wanted), len(keys) - 1)
    return np.asarray(keys[place] == wanted, dtype=np.bool_)
