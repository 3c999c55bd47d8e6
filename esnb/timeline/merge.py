"""Values of values: the exact merge (RFC 7396) that SQL cannot do without losing digits.

DuckDB's JSON functions read a number with a fraction as a double.  The fields
whose values are ever objects, or hold numbers that no double holds, go through
here instead, and only the events that touch them are parsed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import pyarrow as pa

from esnb import jsontext

__all__ = ["DATA", "SILENT", "Merge", "canonical_text", "merged", "parsed"]

# Column with the payloads of the events that touch a nested field, NULL for the others.
DATA = "nested_data"
# Column that is true of the events that change nothing.
SILENT = "silent"
# Numbers that orjson would round: see `esnb.timeline.infer`.
_SUSPECT = re.compile(r"[0-9][0-9.]{15}|[0-9][eE]")


def merged(target: Any, patch: Any) -> Any:
    """Return `target` after a JSON merge patch (RFC 7396); a ``dict`` is changed in place.

    >>> merged({"a": {"b": 1}}, {"a": {"c": None, "d": 2}})
    {'a': {'b': 1, 'd': 2}}
    """
    if not isinstance(patch, Mapping):
        return patch
    result = target if type(target) is dict else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


@dataclass(frozen=True)
class Merge:
    """The nested fields after each row: a `esnb.timeline.fold.Side`.

    It adds ``h0``, ``h1``…: canonical JSON text, NULL where the field is not there.

    Attributes
    ----------
    keys
        The payload keys of the fields.
    whole
        Each payload is the whole state.
    at
        The key of the payload under which all this stands; it is the payload itself without.
    silent
        There is the column `SILENT`.
    """

    keys: tuple[str, ...]
    whole: bool
    at: str | None = None
    silent: bool = False

    @property
    def identity(self) -> str:
        return f"merge 2 {self.whole} {self.at!r} {self.keys!r}"

    @property
    def columns(self) -> tuple[tuple[str, str], ...]:
        return ((DATA, "VARCHAR"), *([(SILENT, "BOOLEAN")] if self.silent else []))

    @property
    def adds(self) -> tuple[tuple[str, str], ...]:
        return tuple((name, "VARCHAR") for name in self.keeps)

    @property
    def keeps(self) -> tuple[str, ...]:
        return tuple(f"h{i}" for i in range(len(self.keys)))

    def run(self, batches: Iterable[Any]) -> Iterator[Any]:
        places = {key: i for i, key in enumerate(self.keys)}
        nothing: list[str | None] = [None] * len(self.keys)
        stream: str | None = None
        state: dict[int, Any] = {}
        texts = list(nothing)
        for batch in batches:
            streams, ended, carried, payloads = (
                batch.column(name).to_pylist() for name in ("stream", "ended", "carried", DATA)
            )
            silent = batch.column(SILENT).to_pylist() if self.silent else [False] * len(payloads)
            made = []
            for row, data in enumerate(payloads):
                if streams[row] != stream or ended[row]:
                    stream, state, texts = streams[row], {}, list(nothing)
                if carried[row]:
                    texts = [batch.column(f"was_{name}")[row].as_py() for name in self.keeps]
                    if not self.whole:
                        state = {i: _value(text) for i, text in enumerate(texts) if text}
                elif silent[row]:
                    pass
                elif data is not None:
                    texts = list(nothing) if self.whole else list(texts)
                    said_here = parsed(data)
                    for key, said in (said_here if self.at is None else said_here[self.at]).items():
                        i = places.get(key)
                        if i is None:
                            continue
                        if self.whole:
                            texts[i] = canonical_text(said)
                        else:
                            state[i] = merged(state.get(i), said)
                            texts[i] = canonical_text(state[i])
                elif self.whole:
                    texts = nothing
                made.append(texts)
            yield pa.RecordBatch.from_arrays(
                [pa.array([row[i] for row in made], pa.string()) for i in range(len(self.keys))],
                names=list(self.keeps),
            )


def parsed(data: str) -> Mapping[str, Any]:
    """Return a payload with all digits of its numbers."""
    if _SUSPECT.search(data):
        return jsontext.parse_object(data)
    payload: dict[str, Any] = orjson.loads(data)
    return payload


def _value(text: str) -> Any:
    value = jsontext.parse(text) if _SUSPECT.search(text) else orjson.loads(text)
    return merged(None, value)  # a state of its own, to be changed in place


def canonical_text(value: Any) -> str | None:
    """Return canonical JSON text, None for ``null``."""
    return None if value is None else jsontext.canonical(value)
