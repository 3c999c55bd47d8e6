"""What a class folds outside of SQL, in the order of the events, and with NumPy or Python.

`States` runs the rules on fields of few values; `Running` the sums that are set anew;
`Steps` the sets, dicts and lists.  See `esnb.timeline.fold.Side` for what each gives.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from esnb.aggregate.finite import RAISED, Automaton
from esnb.aggregate.kinds import Kind, to_column
from esnb.aggregate.layout import Layout
from esnb.aggregate.plan import FieldPlan
from esnb.aggregate.render import PYTHON_NEEDED
from esnb.errors import TimelineError
from esnb.timeline.arrowtypes import arrow_type
from esnb.timeline.ranks import Bools, Ints, Runs, fill, runs_of

__all__ = ["NeedsPython", "Running", "States", "Steps"]


class NeedsPython(TimelineError):
    """The rows hold what only Python folds as Python does."""

    def __init__(self, why: str) -> None:
        super().__init__(f"{PYTHON_NEEDED} ({why})")


class Gathered:
    """All batches of one run as one table, and where its streams and lives begin."""

    def __init__(self, batches: Iterable[Any]) -> None:
        self.parts = list(batches)
        self.empty = not self.parts
        if self.empty:
            return
        self.table = pa.Table.from_batches(self.parts)
        self.rows: int = self.table.num_rows
        self.ended: Bools = self.bools("ended")
        self.carried: Bools = self.bools("carried")
        self.begins: Bools = _begins(self.column("stream"))
        self.runs: Runs = runs_of(self.begins, self.ended)
        self.lasts: Ints = np.flatnonzero(np.concatenate((self.begins[1:], [True])))

    def column(self, name: str) -> Any:
        """Return one column as one Arrow array."""
        return self.table.column(name).combine_chunks()

    def bools(self, name: str) -> Bools:
        values = self.column(name).fill_null(False)
        found: Bools = values.to_numpy(zero_copy_only=False).astype(bool)
        return found

    def back(self, columns: dict[str, Any]) -> Iterator[Any]:
        """Yield columns of all rows in batches as they came."""
        whole = pa.table(columns)
        start = 0
        for part in self.parts:
            piece = whole.slice(start, part.num_rows).combine_chunks()
            start += part.num_rows
            yield (
                piece.to_batches()[0]
                if piece.num_rows
                else pa.RecordBatch.from_arrays(
                    [pa.array([], field.type) for field in whole.schema], schema=whole.schema
                )
            )


def _begins(streams: Any) -> Bools:
    if len(streams) == 0:
        return np.zeros(0, bool)
    changed = pc.not_equal(streams.slice(1), streams.slice(0, len(streams) - 1))
    found: Bools = np.concatenate(([True], changed.to_numpy(zero_copy_only=False).astype(bool)))
    return found


class States:
    """The fields of few values before each event, by the automaton of a class."""

    def __init__(self, rules: Automaton, kinds: dict[str, Kind], layout: Layout) -> None:
        self.rules = rules
        self.identity = repr((rules.fields, rules.states, rules.moves))
        self.columns = (("symbol", "INTEGER"),)
        self._fields = [
            (layout.before(name), kinds[name], [state[number] for state in rules.states])
            for number, name in enumerate(rules.fields)
        ]
        self.adds = (
            *((column, kind.sql) for column, kind, _ in self._fields),
            ("b_state", "INTEGER"),
        )
        self.keeps = ("b_state",)

    def run(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Yield the columns (see `esnb.timeline.fold.Side.run`)."""
        all_of = Gathered(batches)
        if all_of.empty:
            return
        moves = np.array(self.rules.moves, np.int64)
        symbols = all_of.column("symbol").fill_null(0).to_numpy(zero_copy_only=False).astype(int)
        begin = np.zeros(all_of.rows, np.int64)
        carried = np.flatnonzero(all_of.carried)
        # A carried row stands for all before it: the run begins with what was after that.
        symbols[carried] = 0
        was = all_of.column("was_b_state").fill_null(0).to_numpy(zero_copy_only=False)
        state = np.zeros(all_of.runs.first.size, np.int64)
        state[all_of.runs.of[carried]] = was[carried]
        begin = state[all_of.runs.of]
        after = np.zeros(all_of.rows, np.int64)
        marked = np.flatnonzero(symbols)

        def many(runs: Ints, rows: Ints) -> None:
            state[runs] = after[rows] = moves[symbols[rows], state[runs]]

        def one(run: int, rows: Ints) -> None:
            now, found = int(state[run]), []
            for symbol in symbols[rows].tolist():
                now = table[symbol][now]
                found.append(now)
            after[rows] = found

        table = self.rules.moves
        all_of.runs.through(marked, many, one)
        if marked.size and (after[marked] == RAISED).any():
            raise NeedsPython("a handler raises")
        last = fill(all_of.runs, marked, all_of.rows)
        before = np.where(last >= 0, after[np.maximum(last, 0)], begin)
        after = np.where(symbols != 0, after, before)
        after[all_of.ended] = 0
        columns: dict[str, Any] = {}
        codes = pa.array(before)
        for column, kind, values in self._fields:
            known = pa.array([to_column(kind, value) for value in values], arrow_type(kind.sql))
            columns[column] = known.take(codes)
        columns["b_state"] = pa.array(after, pa.int32())
        yield from all_of.back(columns)


class Running:
    """A sum that is set anew now and then, after each event that touches it.

    Sums of floats are added in the order of the events, as Python does; decimals as whole
    numbers of their last digit.
    """

    def __init__(self, field: FieldPlan) -> None:
        self.field = field
        name = self.name = f"r_{field.name}"
        self.float = field.kind.name == "float"
        self.sql = "DOUBLE" if self.float else "BIGINT"
        self.scale = field.kind.scale if field.kind.name == "decimal" else 0
        self.identity = repr((field.name, field.kind, field.default))
        self.columns = (
            (name, f"STRUCT(given STRUCT(v {self.sql}), step {self.sql}, needs INTEGER)"),
        )
        self.adds = ((f"{name}_v", self.sql), (f"{name}_t", "BOOLEAN"))
        self.keeps = (f"{name}_v", f"{name}_t")

    @property
    def said(self) -> str:
        """SQL of what a row says of the field, boxed."""
        value = f"e.{self.name}_v"
        if self.scale:
            unit = f"CAST('0.{'0' * (self.scale - 1)}1' AS DECIMAL({self.scale + 1}, {self.scale}))"
            value = f"CAST({value} AS DECIMAL(19, 0)) * {unit}"
        value = f"CAST({value} AS {self.field.kind.sql})"
        return f"CASE WHEN e.{self.name}_t THEN {{'v': {value}}} END"

    def run(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Yield the columns (see `esnb.timeline.fold.Side.run`)."""
        all_of = Gathered(batches)
        if all_of.empty:
            return
        said = all_of.column(self.name)
        at, by, needs = said.flatten()
        kind = np.float64 if self.float else np.int64
        given = at.is_valid().to_numpy(zero_copy_only=False)
        value = at.flatten()[0]
        is_none = value.is_null().to_numpy(zero_copy_only=False)
        value = value.fill_null(0).to_numpy(zero_copy_only=False)
        touched = by.is_valid().to_numpy(zero_copy_only=False) | given
        by = by.fill_null(0).to_numpy(zero_copy_only=False)
        needs = needs.fill_null(0).to_numpy(zero_copy_only=False)

        runs = all_of.runs
        default = self.field.default
        sums = np.zeros(runs.first.size, kind)
        none = np.zeros(runs.first.size, bool)
        seen = np.zeros(runs.first.size, bool)
        none[:] = default is None
        if default is not None:
            sums[:] = default if self.float else int(default * 10**self.scale)
        carried = np.flatnonzero(all_of.carried)
        was = all_of.column(f"was_{self.name}_v")
        known = all_of.bools(f"was_{self.name}_t")
        of = runs.of[carried]
        told = known[carried]
        sums[of[told]] = was.fill_null(0).to_numpy(zero_copy_only=False)[carried][told]
        none[of[told]] = was.is_null().to_numpy(zero_copy_only=False)[carried][told]
        seen[of] = told
        touched[carried] = False

        after = np.zeros(all_of.rows, kind)
        after_none = np.zeros(all_of.rows, bool)

        def many(run: Ints, rows: Ints) -> None:
            fresh = given[rows]
            gone = none[run] & ~fresh
            if (gone & (needs[rows] == 1)).any():
                raise NeedsPython(f"{self.field.name} is None where something is added to it")
            now: Any = sums[run] + np.where(gone, 0, by[rows])
            if not self.float and (((sums[run] ^ now) & (by[rows] ^ now))[~fresh] < 0).any():
                raise NeedsPython(f"{self.field.name} grows past 64 bits")
            sums[run] = after[rows] = np.where(fresh, value[rows], now)
            none[run] = after_none[rows] = np.where(fresh, is_none[rows], none[run])

        def one(run: int, rows: Ints) -> None:
            now, gone = sums[run].item(), bool(none[run])
            found, gones = [], []
            for fresh, v, n, step, need in zip(
                given[rows].tolist(),
                value[rows].tolist(),
                is_none[rows].tolist(),
                by[rows].tolist(),
                needs[rows].tolist(),
                strict=True,
            ):
                if fresh:
                    now, gone = v, n
                elif not gone:
                    now += step
                elif need == 1:
                    raise NeedsPython(f"{self.field.name} is None where something is added to it")
                found.append(now)
                gones.append(gone)
            if not self.float and found and max(map(abs, found)) >= 2**63:
                raise NeedsPython(f"{self.field.name} grows past 64 bits")
            after[rows] = found
            after_none[rows] = gones
            sums[run], none[run] = found[-1], gones[-1]

        marked = np.flatnonzero(touched)
        runs.through(marked, many, one)
        seen[runs.of[marked]] = True
        # The newest row of a stream says it again, for the fold to go on from.
        last = all_of.lasts
        again = last[seen[runs.of[last]] & ~all_of.ended[last]]
        after[again] = sums[runs.of[again]]
        after_none[again] = none[runs.of[again]]
        touched[again] = True
        touched[carried] = told
        after[carried] = was.fill_null(0).to_numpy(zero_copy_only=False)[carried]
        after_none[carried] = was.is_null().to_numpy(zero_copy_only=False)[carried]
        yield from all_of.back(
            {
                f"{self.name}_v": pa.array(after, mask=after_none | ~touched),
                f"{self.name}_t": pa.array(touched),
            }
        )


class Steps:
    """A set, a dict or a list after each event that changes it: real ones, changed step by step."""

    def __init__(self, field: FieldPlan) -> None:
        self.field = field
        self.name = f"s_{field.name}"
        self.out = f"c_{field.name}"
        kind = field.kind
        key = (kind.key if kind.name == "dict" else kind.item) or kind
        item = kind.item or kind
        self.identity = repr((field.name, kind))
        self.columns = (
            (self.name, f"STRUCT(op VARCHAR, k {key.sql}, v {item.sql}, d {item.sql})[]"),
        )
        self.adds = ((self.out, kind.sql),)
        self.keeps = (self.out,)
        self._new = {"set": set, "dict": dict, "list": list}[kind.name]

    def run(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Yield the columns (see `esnb.timeline.fold.Side.run`)."""
        all_of = Gathered(batches)
        if all_of.empty:
            return
        steps = all_of.column(self.name)
        marks = steps.is_valid().to_numpy(zero_copy_only=False).copy()
        marks |= all_of.begins | all_of.ended | all_of.carried
        marks[all_of.lasts] = True
        rows = np.flatnonzero(marks)
        taken = steps.take(pa.array(rows)).to_pylist()
        was = all_of.column(f"was_{self.out}")
        found: list[Any] = [None] * len(rows)
        value: Any = self._new()
        shown: Any = None
        begins, ended = all_of.begins[rows].tolist(), all_of.ended[rows].tolist()
        carried = all_of.carried[rows].tolist()
        for place, changes in enumerate(taken):
            if begins[place]:
                value, shown = self._new(), None
            if carried[place]:
                before = was[int(rows[place])].as_py()
                if before is not None:
                    value = self._new(before)
                    shown = before
                found[place] = shown
                continue
            if ended[place]:
                value, shown = self._new(), None
                continue
            if changes:
                try:
                    for change in changes:
                        _STEPS[change["op"]](value, change)
                except (KeyError, IndexError, TypeError, ValueError) as error:
                    raise NeedsPython(f"{self.field.name}: {type(error).__name__}") from error
                shown = _as_column(value)
            found[place] = shown
        made = pa.array(found, arrow_type(self.field.kind.sql))
        where = np.full(all_of.rows, -1, np.int64)
        where[rows] = np.arange(len(rows))
        yield from all_of.back({self.out: made.take(pa.array(where, mask=where < 0))})


def _as_column(value: Any) -> Any:
    """Return a collection as its column has it: sets and dicts sorted."""
    if isinstance(value, list):
        return value.copy()
    try:
        return sorted(value if isinstance(value, set) else value.items())
    except TypeError as error:  # None among texts
        raise NeedsPython("None in a set, or as a key") from error


def _count(value: dict[Any, Any], step: dict[str, Any]) -> None:
    key = step["k"]
    # Without a default, a missing key is the KeyError that Python raises.
    before = value[key] if step["d"] is None else value.get(key, step["d"])
    value[key] = before + step["v"]


_STEPS: dict[str, Any] = {
    "add": lambda value, step: value.add(step["k"]),
    "discard": lambda value, step: value.discard(step["k"]),
    "remove": lambda value, step: value.remove(step["k"]),
    "clear": lambda value, step: value.clear(),
    "put": lambda value, step: value.__setitem__(step["k"], step["v"]),
    "count": _count,
    "delete": lambda value, step: value.__delitem__(step["k"]),
    "pop": lambda value, step: value.pop(step["k"], None),
    "take": lambda value, step: value.pop(step["k"]),
    "setdefault": lambda value, step: value.setdefault(step["k"], step["v"]),
    "pop_item": lambda value, step: value.pop(),
    "append": lambda value, step: value.append(step["k"]),
}
