"""Values of values: the exact merge (RFC 7396) that SQL cannot do without losing digits.

DuckDB's JSON functions read a number with a fraction as a double.  The fields
whose values are ever objects, or hold numbers that no double holds, go through
here instead, and only the events that touch them do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import duckdb
import orjson
import pyarrow as pa
from duckdb.func import FunctionNullHandling, PythonUDFType

from esnb import jsontext
from esnb.timeline.fold import Fold, Mode, ending
from esnb.timeline.text import literals, pointer

__all__ = ["FUNCTION", "merged", "register_function", "states"]

# The SQL functions of `register_function`.
FUNCTION: dict[Mode, str] = {"patch": "_esnb_patched", "snapshot": "_esnb_whole"}

_BATCH = 10_000
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


def states(cursor: duckdb.DuckDBPyConnection, fold: Fold, *, relation: str = "events") -> pa.Table:
    """Return the nested fields after each event that touches one of them.

    Returns
    -------
    pyarrow.Table
        ``position``, and for the i-th nested field ``h<i>`` (canonical JSON text,
        null where the field is gone) and ``t<i>`` (the event touched it).
    """
    keys = [field.key for field in fold.nested]
    paths = literals(map(pointer, keys))
    ended = ending("e", fold.ends)
    reader = cursor.execute(
        f"""
        SELECT e.position, e.stream, {ended} AS ended, e.data
        FROM {relation} AS e
        WHERE {fold.where} AND ({ended} OR list_bool_or(json_exists(e.data, {paths})))
        ORDER BY e.stream, e.position
        """  # noqa: S608 (our own text)
    ).to_arrow_reader(_BATCH)
    tables = [
        table for table in _runs(reader, keys, whole=fold.mode == "snapshot") if table.num_rows
    ]
    return (
        pa.concat_tables(tables) if tables else _table([], [[] for _ in keys], [[] for _ in keys])
    )


def register_function(cursor: duckdb.DuckDBPyConnection, fold: Fold) -> None:
    """Make the merge known to SQL as ``name(payloads, keys) -> canonical texts``, all lists.

    The functions belong to the whole DuckDB in memory and are made once.
    """
    name = FUNCTION[fold.mode]
    known = cursor.execute(
        "SELECT 1 FROM duckdb_functions() WHERE function_name = ?", [name]
    ).fetchone()
    if known is not None:
        return
    texts = duckdb.list_type("VARCHAR")
    cursor.create_function(
        name,
        _patched if fold.mode == "patch" else _whole,
        [texts, texts],
        texts,
        type=PythonUDFType.ARROW,
        null_handling=FunctionNullHandling.SPECIAL,
    )


def _runs(reader: Any, keys: list[str], *, whole: bool) -> Any:
    places = {key: i for i, key in enumerate(keys)}
    stream: str | None = None
    state: dict[str, Any] = {}
    for batch in reader:
        rows = zip(
            *(batch.column(name).to_pylist() for name in ("position", "stream", "ended", "data")),
            strict=True,
        )
        positions: list[int] = []
        # Most events touch few of the keys: the rest of the rows stays as it is here.
        texts: list[list[str | None]] = [[None] * len(batch) for _ in keys]
        touched = [[False] * len(batch) for _ in keys]
        for position, of, ended, data in rows:
            if of != stream or ended:
                stream, state = of, {}
            if ended:
                continue
            row = len(positions)
            positions.append(position)
            for key, said in _parsed(data).items():
                i = places.get(key)
                if i is not None:
                    state[key] = said if whole else merged(state.get(key), said)
                    texts[i][row] = _text(state[key])
                    touched[i][row] = True
        yield _table(positions, texts, touched)


def _table(
    positions: list[int], texts: list[list[str | None]], touched: list[list[bool]]
) -> pa.Table:
    rows = len(positions)
    arrays = {"position": pa.array(positions, pa.int64())}
    for i, (text, touch) in enumerate(zip(texts, touched, strict=True)):
        arrays[f"h{i}"] = pa.array(text[:rows], pa.string())
        arrays[f"t{i}"] = pa.array(touch[:rows], pa.bool_())
    return pa.table(arrays)


def _patched(lists: Any, keys: Any) -> Any:
    return _folded(lists, keys, whole=False)


def _whole(lists: Any, keys: Any) -> Any:
    return _folded(lists, keys, whole=True)


def _folded(lists: Any, keys: Any, *, whole: bool) -> Any:
    result = []
    for payloads, wanted in zip(lists.to_pylist(), keys.to_pylist(), strict=True):
        state: dict[str, Any] = dict.fromkeys(wanted)
        for data in payloads or ():
            payload = _parsed(data)
            if whole:
                state = {key: payload.get(key) for key in wanted}
                continue
            for key in payload.keys() & state.keys():
                state[key] = merged(state[key], payload[key])
        result.append([_text(state[key]) for key in wanted])
    return pa.array(result, pa.list_(pa.string()))


def _parsed(data: str) -> Mapping[str, Any]:
    if _SUSPECT.search(data):
        return jsontext.parse_object(data)
    payload: dict[str, Any] = orjson.loads(data)
    return payload


def _text(value: Any) -> str | None:
    return None if value is None else jsontext.canonical(value)
