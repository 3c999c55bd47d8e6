"""Text columns of Arrow as NumPy arrays of bytes, for work on millions of short texts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

__all__ = ["raw_chunks"]


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
