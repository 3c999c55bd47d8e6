"""Conditions on single events: SQL over their columns, their payload, and the state after them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow as pa

from esnb.duck import interruptible
from esnb.errors import FlowError, QueryError
from esnb.flow.grammar import Element, fault
from esnb.flow.letters import Key, key_of, taken
from esnb.flow.names import unknown
from esnb.flow.selection import Selection
from esnb.flow.steps import Bools, Ints, Steps
from esnb.query import gate
from esnb.query.redact import redact
from esnb.sqltext import literal, quote
from esnb.timeline import infer
from esnb.timeline.text import pointer

if TYPE_CHECKING:
    from esnb.timeline import Timeline

__all__ = ["check_types", "distinct", "held"]

_ASKED, _VALUES = "_esnb_asked", "_esnb_values"
_NUMBERS = frozenset(
    {
        "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT",
        "UINTEGER", "UBIGINT", "FLOAT", "DOUBLE", "DECIMAL",
    }
)  # fmt: skip

Path = tuple[str, ...]


def check_types(selection: Selection, steps: Steps, elements: Iterable[Element], text: str) -> None:
    """Refuse an element that names a type which neither the flow nor its log has.

    A flow without events has no types: nothing is refused then.

    Raises
    ------
    FlowError
        With a caret under the name, and near names.
    """
    known = set(steps.types)
    if not known:
        return
    missing = [
        (name, place)
        for element in elements
        for name, place in zip(element.names or (), element.places, strict=False)
        if name not in known
    ]
    if not missing:
        return
    try:
        cursor = selection.events_cursor()
    except FlowError:
        in_log = set()
    else:
        # Rare: a month without a failure is no reason to refuse a question about failures.
        found = cursor.execute("SELECT DISTINCT e.event_type FROM events AS e").fetchall()
        in_log = {name for (name,) in found}
    for name, place in missing:
        if name not in in_log:
            raise fault(text, place, str(unknown("event type", name, known | in_log)))


def held(
    selection: Selection,
    steps: Steps,
    elements: Iterable[Element],
    text: str,
    state: Timeline | None = None,
) -> dict[Key, Bools]:
    """Return for each element with a condition the events for which it holds.

    Parameters
    ----------
    text
        Where the elements stand, for errors.
    state
        Timeline that says what ``state`` is in a condition.

    Raises
    ------
    FlowError
        If a condition is none, with a caret under it.
    """
    result: dict[Key, Bools] = {}
    for element in elements:
        if element.condition is None or key_of(element) in result:
            continue
        try:
            with interruptible():
                found = _Asked(selection, steps, element, state).holds()
        except duckdb.Error as error:
            reason = redact(str(error)).splitlines()[0]
            raise fault(text, element.places[-1], f"the condition fails ({reason})") from None
        except (FlowError, QueryError) as error:
            raise fault(text, element.places[-1], str(error)) from None
        result[key_of(element)] = found
    return result


def distinct(positions: Ints) -> Ints:
    """Return positions of a log, each once and in order."""
    # They are dense: marking them is ten times faster than sorting or hashing them.
    there = np.zeros(int(positions.max(initial=-1)) + 1, np.bool_)
    there[positions] = True
    return np.flatnonzero(there)


class _Asked:
    """One condition, asked of the events that an element would take."""

    def __init__(
        self, selection: Selection, steps: Steps, element: Element, state: Timeline | None
    ) -> None:
        self._steps = steps
        self._element = element
        self._state = state
        self._condition = element.condition or ""
        self._of_types = taken(element, steps.types)[steps.type_ids]
        self._cursor = selection.events_cursor()
        # Alone as well as in brackets, so that it cannot close these.
        for one in (self._condition, f"({self._condition}\n)"):
            gate.check(self._cursor, f"SELECT {one}\nFROM events")
        self._tree = gate.tree(self._cursor, f"SELECT ({self._condition}\n) FROM events")  # noqa: S608

    def holds(self) -> Bools:
        steps = self._steps
        asked = distinct(steps.positions[self._of_types])
        self._cursor.register(_ASKED, pa.table({"position": asked}))
        columns, joined = "e.*", ""
        paths = _below("data", self._tree)
        if paths:
            kinds = self._kinds(paths) if len(asked) else dict.fromkeys(paths, "NULL")
            self._check_compared("data", kinds)
            columns += f" REPLACE ({_packed(paths, paths, kinds)} AS data)"
            joined += f" LEFT JOIN {_VALUES} AS w ON w.position = e.position" if len(asked) else ""
        names = _below("state", self._tree)
        if names:
            columns += f", {self._packed_state(names)} AS state"
            joined += self._state_joined()
        rows = f"SELECT {columns} FROM {self._rows()} AS e{joined}"  # noqa: S608
        if paths and len(asked) and self._only_payload():
            # The events have been read for this; only what was found there is asked.
            rows = f"SELECT w.position, {_packed(paths, paths, kinds)} AS data FROM {_VALUES} AS w"  # noqa: S608
        # Without an event it is looked at all the same.
        found = self._cursor.sql(
            f"SELECT e.position FROM ({rows}) AS e"  # noqa: S608
            f" WHERE coalesce(({self._condition}\n)::BOOLEAN, false)"
        ).to_arrow_table()["position"]
        if not len(found):
            return np.zeros(len(steps), np.bool_)
        holds = np.zeros(int(steps.positions.max()) + 1, np.bool_)
        holds[found.to_numpy()] = True
        result: Bools = self._of_types & holds[steps.positions]
        return result

    def _rows(self) -> str:
        element = self._element
        chosen = ""
        if element.names is not None and not element.negated:
            # Said beside the positions, it keeps most payloads from being read.
            chosen = f" WHERE e.event_type IN ({', '.join(map(literal, element.names))})"
        return (
            f"(SELECT e.* FROM (SELECT e.* FROM events AS e{chosen}) AS e"  # noqa: S608
            f" SEMI JOIN {_ASKED} AS a ON a.position = e.position)"
        )

    def _only_payload(self) -> bool:
        """Tell whether the condition asks for nothing but what stands in the payload."""
        kinds = [node.get("class") for node in _nodes(self._tree["node"]["select_list"])]
        names = [
            node["column_names"]
            for node in _nodes(self._tree["node"]["select_list"])
            if _is(node, "COLUMN_REF")
        ]
        return not {"SUBQUERY", "STAR", "POSITIONAL_REFERENCE"}.intersection(kinds) and all(
            len(path) > 1 and path[0].casefold() == "data" for path in names
        )

    def _check_compared(self, where: str, kinds: Mapping[Path, str]) -> None:
        for path in _compared_with_numbers(where, self._tree):
            kind = kinds.get(path)
            if kind in ("VARCHAR", "JSON"):
                name = ".".join((where, *path))
                what = "text" if kind == "VARCHAR" else "of several kinds"
                raise FlowError(
                    f"{name} is {what} here; to compare it with a number say {name}::DECIMAL(18, 2)"
                )

    # --- what is in the payload ------------------------------------------------------------

    def _kinds(self, paths: list[Path]) -> dict[Path, str]:
        """Put the values of the payload into a table, as JSON, and return the type of each."""
        pointers = ", ".join(literal(_pointer(path)) for path in paths)
        self._cursor.execute(
            f"CREATE TEMP TABLE {_VALUES} AS SELECT e.position,"  # noqa: S608 (constants)
            f" CAST(json_extract(e.data, [{pointers}]) AS VARCHAR[]) AS v FROM {self._rows()} AS e"
        )
        bits = ", ".join(
            f"coalesce(bit_or({infer.bits_of(f'w.v[{place}]')}), 0)"
            for place in range(1, len(paths) + 1)
        )
        row = self._cursor.execute(f"SELECT {bits} FROM {_VALUES} AS w").fetchone() or ()  # noqa: S608
        return {path: self._kind(path, int(seen)) for path, seen in zip(paths, row, strict=True)}

    def _kind(self, path: Path, seen: int) -> str:
        if not seen:
            self._check_key(path[-1], path[:-1])
        if not infer.any_value(seen):
            return "NULL"
        known = {path[-1]: seen}
        fractions = infer.doubtful_of(known, known)
        rows = f"SELECT e.position, e.data FROM {self._rows()} AS e"  # noqa: S608
        infer.look_closer(self._cursor, rows, known, known, _pointer(path[:-1]))
        kind = infer.type_of(known[path[-1]])
        if fractions and kind == "VARCHAR":
            name = ".".join(path)
            raise FlowError(
                f"data.{name} has numbers of more digits than DuckDB reads from JSON; a timeline "
                f"keeps them: say state.{name}, and state=log.timeline('order')"
            )
        return kind

    def _check_key(self, key: str, above: Path) -> None:
        """Refuse a key that no event of these types has, also outside of the flow."""
        element = self._element
        rows = "SELECT e.data FROM events AS e"
        if element.names is not None:
            names = ", ".join(map(literal, element.names))
            rows += f" WHERE e.event_type {'NOT ' * element.negated}IN ({names})"
        found = self._cursor.execute(
            f"SELECT DISTINCT unnest(json_keys(e.data, {literal(_pointer(above))}))"  # noqa: S608
            f" FROM ({rows}) AS e"
        ).fetchall()
        keys = {known for (known,) in found}
        if key not in keys:
            raise unknown(f"key in {'.'.join(('data', *above))} called", key, keys)

    # --- what the state is -----------------------------------------------------------------

    def _packed_state(self, paths: list[Path]) -> str:
        if self._state is None:
            raise FlowError(
                "to ask for the state say which timeline it is of, e.g. state=log.timeline('order')"
            )
        fields = self._state.fields
        spelled = {name.casefold(): name for name in fields}
        kinds: dict[Path, str] = {}
        for name, *rest in paths:
            if name.casefold() not in spelled:
                raise unknown("field of the state called", name, fields)
            kinds[name, *rest] = fields[spelled[name.casefold()]].type if not rest else ""
        self._check_compared("state", kinds)
        names = dict.fromkeys(spelled[name.casefold()] for name, *_ in paths)
        return f"struct_pack({', '.join(f'{quote(name)} := s.{quote(name)}' for name in names)})"

    def _state_joined(self) -> str:
        if self._state is None:
            return ""
        return (
            f" LEFT JOIN (SELECT t.* FROM {self._state.built().source} AS t SEMI JOIN {_ASKED} AS a"  # noqa: S608
            " ON a.position = t.position) AS s ON s.position = e.position AND s.stream = e.stream"
        )


def _pointer(path: Path) -> str:
    return "".join(map(pointer, path))


def _below(name: str, tree: Any) -> list[Path]:
    """Return what is asked for below a name, ``("a", "b")`` for ``name.a.b``; each once."""
    found = [
        tuple(node["column_names"][1:])
        for node in _nodes(tree)
        if node.get("class") == "COLUMN_REF"
        and node["column_names"][0].casefold() == name
        and len(node["column_names"]) > 1
    ]
    return list(dict.fromkeys(found))


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    rest = [tree]
    while rest:
        item = rest.pop()
        if isinstance(item, list):
            rest.extend(item)
        elif isinstance(item, dict):
            yield item
            rest.extend(item.values())


def _compared_with_numbers(where: str, tree: Any) -> Iterator[Path]:
    """Yield values below a name that are compared with a number as they are.

    DuckDB would make whole numbers of texts, rounding them.
    """
    for node in _nodes(tree):
        if not str(node.get("type", "")).startswith("COMPARE_"):
            continue
        names = ("left", "right", "input", "lower", "upper")
        sides = [node[name] for name in names if name in node] + node.get("children", [])
        kinds = [side["value"]["type"]["id"] for side in sides if _is(side, "CONSTANT")]
        if _NUMBERS.intersection(kinds):
            yield from _below(where, [side for side in sides if _is(side, "COLUMN_REF")])


def _is(node: dict[str, Any], kind: str) -> bool:
    return node.get("class") == kind


def _packed(
    every: list[Path], paths: list[Path], kinds: Mapping[Path, str], above: Path = ()
) -> str:
    """Return SQL of a struct of the values below a place in the payload."""
    parts = []
    depth = len(above)
    for key in dict.fromkeys(path[depth] for path in paths):
        path = (*above, key)
        deeper = [other for other in paths if other[: depth + 1] == path and other != path]
        if path in paths and deeper:
            whole = ".".join(("data", *path))
            raise FlowError(f"{whole} and what is in it cannot be asked for together")
        if deeper:
            value = _packed(every, deeper, kinds, path)
        else:
            value = _value(f"w.v[{every.index(path) + 1}]", kinds[path])
        parts.append(f"{quote(key)} := {value}")
    return f"struct_pack({', '.join(parts)})"


def _value(text: str, kind: str) -> str:
    """Return SQL of what JSON `text` says, NULL for JSON's ``null``."""
    if kind == "NULL":
        return "NULL"
    if kind == "VARCHAR":
        return (
            f"CASE WHEN {text}[1] = '\"' THEN json_extract_string({text}, '$') "
            f"WHEN {text} <> 'null' THEN {text} END"
        )
    return f"CAST(CASE WHEN {text} <> 'null' THEN {text} END AS {kind})"
