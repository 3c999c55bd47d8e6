"""Text columns of Arrow as NumPy arrays of bytes, for work on millions of short texts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["raw_chunks", "suspects"]

# As long as the strictest limit of `esnb.schema.check_text`.
_SHORT = 256


def raw_chunks(
    column: pa.Array | pa.ChunkedArray,
) -> Iterator[tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]]:
    """Yield the bytes of each chunk in UTF-8, and the `n` + 1 offsets of its `n` texts.

    A null is a text without bytes.  Chunks without texts are left out.
    """
    for chunk in column.chunks if isinstance(column, pa.ChunkedArray) else [column]:
        if not len(chunk):
            continue
        _, offsets, texts = chunk.buffers()
        found = np.frombuffer(offsets, np.int32)[chunk.offset : chunk.offset + len(chunk) + 1]
        first, last = int(found[0]), int(found[-1])
        held = np.frombuffer(texts, np.uint8)[first:last] if last > first else np.empty(0, np.uint8)
        yield held, found.astype(np.int64) - first


def suspects(name: str, column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray | None:
    """Return which texts of the field `name` may fail `check_text`; None where surely none does.

    Nulls are no suspects.
    """
    sizes = pc.binary_length(column)
    span = pc.min_max(sizes).as_py()
    if span["min"] is None:
        return None
    if span["min"] >= 1 and span["max"] <= _SHORT and not _some_odd_byte(name, column):
        return None
    found = pc.or_(
        pc.or_(pc.less(sizes, 1), pc.greater(sizes, _SHORT)),
        pc.match_substring_regex(column, r"\A-|\x00"),
    )
    return pc.fill_null(found, False)


def _some_odd_byte(name: str, column: pa.Array | pa.ChunkedArray) -> bool:
    """Tell whether there is a NUL anywhere, or a stream that begins with a dash."""
    for held, ends in raw_chunks(column):
        if held.min(initial=1) == 0:
            return True
        starts = ends[:-1]
        if name == "stream" and (held[starts[starts < len(held)]] == ord("-")).any():
            return True
    return False
