"""Conditions on single events: SQL over their columns, their payload, and the state after them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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

__all__ = ["check_types", "held"]

_ASKED = "_esnb_asked"
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
        asked = np.unique(steps.positions[self._of_types])
        columns = self._columns(asked)
        # Without an event it is looked at all the same.
        found = self._cursor.sql(
            f"SELECT e.position FROM (SELECT {columns} FROM {self._rows()} AS e{self._joined()})"  # noqa: S608
            f" AS e WHERE coalesce(({self._condition}\n)::BOOLEAN, false)"
        ).to_arrow_table()["position"]
        result: Bools = self._of_types & np.isin(steps.positions, found.to_numpy())
        return result

    def _rows(self) -> str:
        return f"(SELECT e.* FROM events AS e SEMI JOIN {_ASKED} AS a ON a.position = e.position)"  # noqa: S608

    def _columns(self, asked: Ints) -> str:
        self._cursor.register(_ASKED, pa.table({"position": asked}))
        columns = "e.*"
        paths = _below("data", self._tree)
        if paths:
            kinds = self._kinds(paths) if len(asked) else dict.fromkeys(paths, "NULL")
            for path in _compared_with_numbers(self._tree):
                kind = kinds.get(path)
                if kind in ("VARCHAR", "JSON"):
                    name = ".".join(path)
                    what = "text" if kind == "VARCHAR" else "of several kinds"
                    raise FlowError(
                        f"data.{name} is {what} here; to compare it with a number say "
                        f"data.{name}::DECIMAL(18, 2)"
                    )
            columns += f" REPLACE ({_packed(paths, kinds)} AS data)"
        if _below("state", self._tree):
            columns += f", {self._packed_state()} AS state"
        return columns

    # --- what is in the payload ------------------------------------------------------------

    def _kinds(self, paths: list[Path]) -> dict[Path, str]:
        """Return the type of each value of the payload."""
        kinds: dict[Path, str] = {}
        for above in dict.fromkeys(path[:-1] for path in paths):
            wanted = [path[-1] for path in paths if path[:-1] == above]
            rows = f"SELECT e.position, e.data FROM {self._rows()} AS e"  # noqa: S608
            known = self._looked(rows, wanted, above)
            for key in wanted:
                if key not in known.keys:
                    self._check_key(key, above, known.keys)
                seen = known.seen.get(key, 0)
                kinds[(*above, key)] = infer.type_of(seen) if infer.any_value(seen) else "NULL"
        return kinds

    def _looked(self, rows: str, wanted: list[str], above: Path) -> infer.Facts:
        return infer.look(
            self._cursor,
            rows,
            infer.Facts(),
            0,
            fields=wanted,
            ignore=(),
            under="".join(map(pointer, above)),
        )

    def _check_key(self, key: str, above: Path, keys: Iterable[str]) -> None:
        """Refuse a key that no event of these types has, also outside of the flow."""
        element = self._element
        rows = "SELECT e.position, e.data FROM events AS e"
        if element.names is not None:
            names = ", ".join(map(literal, element.names))
            rows += f" WHERE e.event_type {'NOT ' * element.negated}IN ({names})"
        everywhere = self._looked(rows, [], above).keys
        if key not in everywhere:
            place = ".".join(("data", *above))
            raise unknown(f"key in {place} called", key, {*keys, *everywhere})

    # --- what the state is -----------------------------------------------------------------

    def _packed_state(self) -> str:
        if self._state is None:
            raise FlowError(
                "to ask for the state say which timeline it is of, e.g. state=log.timeline('order')"
            )
        fields = {name.casefold(): name for name in self._state.fields}
        names = []
        for name, *_ in _below("state", self._tree):
            if name.casefold() not in fields:
                raise unknown("field of the state called", name, self._state.fields)
            names.append(fields[name.casefold()])
        pairs = ", ".join(f"{quote(name)} := s.{quote(name)}" for name in dict.fromkeys(names))
        return f"struct_pack({pairs})"

    def _joined(self) -> str:
        if self._state is None or not _below("state", self._tree):
            return ""
        return (
            f" LEFT JOIN (SELECT t.* FROM {self._state.built().source} AS t SEMI JOIN {_ASKED} AS a"  # noqa: S608
            " ON a.position = t.position) AS s ON s.position = e.position AND s.stream = e.stream"
        )


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


def _compared_with_numbers(tree: Any) -> Iterator[Path]:
    """Yield values of the payload that are compared with a number as they are.

    DuckDB would make whole numbers of texts, rounding them.
    """
    for node in _nodes(tree):
        if not str(node.get("type", "")).startswith("COMPARE_"):
            continue
        names = ("left", "right", "input", "lower", "upper")
        sides = [node[name] for name in names if name in node] + node.get("children", [])
        kinds = [side["value"]["type"]["id"] for side in sides if _is(side, "CONSTANT")]
        if _NUMBERS.intersection(kinds):
            yield from _below("data", [side for side in sides if _is(side, "COLUMN_REF")])


def _is(node: dict[str, Any], kind: str) -> bool:
    return node.get("class") == kind


def _packed(paths: list[Path], kinds: dict[Path, str], above: Path = ()) -> str:
    """Return SQL of a struct of the values below a place in the payload."""
    parts = []
    depth = len(above)
    for key in dict.fromkeys(path[depth] for path in paths if path[:depth] == above):
        path = (*above, key)
        deeper = any(other[: depth + 1] == path and other != path for other in paths)
        if path in kinds and deeper:
            whole = ".".join(("data", *path))
            raise FlowError(f"{whole} and what is in it cannot be asked for together")
        value = _packed(paths, kinds, path) if deeper else _value(path, kinds[path])
        parts.append(f"{quote(key)} := {value}")
    return f"struct_pack({', '.join(parts)})"


def _value(path: Path, kind: str) -> str:
    if kind == "NULL":
        return "NULL"
    where = literal("".join(map(pointer, path)))
    if kind == "JSON":
        found = f"json_extract(e.data, {where})"
        return f"CASE WHEN {found}::VARCHAR <> 'null' THEN {found} END"
    text = f"json_extract_string(e.data, {where})"
    return text if kind == "VARCHAR" else f"CAST({text} AS {kind})"
