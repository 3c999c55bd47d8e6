"""Rules checked in all cases: held, broken or not applicable, and the events that broke them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import duckdb
import numpy as np
import pyarrow as pa

from esnb import instants
from esnb.errors import FlowError, shown
from esnb.flow import conditions
from esnb.flow.cases import listed
from esnb.flow.declare import Asked, Verdict, judged
from esnb.flow.grammar import Element, parse_element
from esnb.flow.letters import key_of, taken
from esnb.flow.matches import checked_state, evidence, with_ids
from esnb.flow.names import unknown
from esnb.flow.rules import Rule, read_rule
from esnb.flow.steps import Bools, Ints
from esnb.show import html_table

if TYPE_CHECKING:
    from esnb.flow.flow import Flow
    from esnb.timeline import Timeline

__all__ = ["Checked", "Open", "Status"]

# What stands in no name of a type that is written without quotes by mistake.
_SIGNS = re.compile(r"[][()|!\"']|\.\.\.")

Open = Literal["broken", "not_applicable"]
Status = Literal["held", "broken", "not_applicable"]


class Checked:
    """What rules come to in the cases of a flow.

    Parameters
    ----------
    flow
        The cases.
    rules
        One rule, or several: made by `esnb.flow.rules`, or sentences.
    state
        Timeline that says what ``state`` is in a condition.
    open
        What becomes of an event whose time limit is not over at the end of what is known:
        ``"broken"``, as if nothing more would come; or ``"not_applicable"``, as if it were not
        there.
    until
        That end; the last event of the flow without it.

    Raises
    ------
    FlowError
        If a rule is none, two have one name, or an element is none or names an unknown type.
    """

    def __init__(
        self,
        flow: Flow,
        rules: Rule | str | Iterable[Rule | str],
        *,
        state: Timeline | None = None,
        open: Open = "broken",
        until: object = None,
    ) -> None:
        self.rules = _rules(rules)
        checked_state(state)
        if open not in ("broken", "not_applicable"):
            raise FlowError(f"open={shown(open)}: say 'broken' or 'not_applicable'")
        self._flow = flow
        self._steps = steps = flow.built()
        end: int | None = None
        if until is not None:
            end = instants.micros(instants.instant(until, declared=flow.selection.declared))
        elif len(steps):
            end = int(steps.at.max())
        if open == "broken":
            end = None
        finder = _Finder(flow, state)
        self._verdicts = [finder.verdict(rule, end) for rule in self.rules]

    @property
    def ok(self) -> bool:
        """Whether no rule is broken."""
        return not any(verdict.broken for verdict in self._verdicts)

    def summary(self) -> duckdb.DuckDBPyRelation:
        """Return the rules, in their order.

        Returns
        -------
        duckdb.DuckDBPyRelation
            ``rule``, ``held``, ``broken``, ``not_applicable`` (how many cases), ``share_held``
            (of those to which it applies, 0 to 1; NULL if there are none).
        """
        return self._flow.answer("FROM summed", summed=self._summed)

    def broken(self, rule: Rule | str | None = None) -> duckdb.DuckDBPyRelation:
        """Return the evidence: the events that broke a rule, or all rules.

        What is missing has no event: there it is the event that waited for it, or the last one
        of the case.

        Returns
        -------
        duckdb.DuckDBPyRelation
            ``rule``, ``case_id``, ``event_type``, ``time`` (on the clock of the flow),
            ``position``, ``event_id`` (NULL in a flow of a table), ``why``.  By rule, case and
            place in it.

        Raises
        ------
        FlowError
            If there is no such rule; it names near ones.
        """
        chosen = range(len(self.rules)) if rule is None else [self._place(rule)]
        rows, names, whys = [], [], []
        for place in chosen:
            parts = self._verdicts[place].broken
            own = np.concatenate([part for part, _ in parts]) if parts else np.zeros(0, np.int64)
            why = np.repeat(np.arange(len(parts)), [len(part) for part, _ in parts])
            order = np.argsort(own, kind="stable")
            rows.append(own[order])
            texts = pa.array([text for _, text in parts], pa.string())
            whys.append(texts.take(pa.array(why[order])))
            names.append(pa.array([self.rules[place].name] * len(own), pa.string()))
        table = evidence(self._steps, np.concatenate(rows) if rows else np.zeros(0, np.int64))
        table = table.append_column("rule", pa.chunked_array(names, pa.string()))
        table = table.append_column("why", pa.chunked_array(whys, pa.string()))
        columns = "m.rule, m.case_id, m.event_type, m.time, m.position"
        return with_ids(self._flow, table, columns, ", m.why")

    def streams(
        self, rule: Rule | str | None = None, status: Status = "broken"
    ) -> duckdb.DuckDBPyRelation:
        """Return the cases in which a rule, or any, is broken; or held, or does not apply.

        Returns
        -------
        duckdb.DuckDBPyRelation
            ``case_id``, ``started``, ``ended``, ``events``.  By case.

        Raises
        ------
        FlowError
            If there is no such rule or status.
        """
        which = self._which(rule, status)
        return self._flow.answer("FROM listed", listed=listed(self._steps, which))

    def flow(self, rule: Rule | str | None = None, status: Status = "broken") -> Flow:
        """Return the flow of the cases that `streams` returns, whole."""
        which = self._which(rule, status)
        return type(self._flow)(self._flow.selection, self._steps.only(which))

    def _which(self, rule: Rule | str | None, status: Status) -> Bools:
        if status not in ("held", "broken", "not_applicable"):
            raise FlowError(f"status={shown(status)}: say 'held', 'broken' or 'not_applicable'")
        chosen = range(len(self.rules)) if rule is None else [self._place(rule)]
        which = np.zeros(self._steps.cases, np.bool_)
        for place in chosen:
            which |= self._status(place)[status]
        return which

    def _status(self, place: int) -> dict[str, Bools]:
        steps, verdict = self._steps, self._verdicts[place]
        broken = np.zeros(steps.cases, np.bool_)
        for rows, _ in verdict.broken:
            broken[steps.case_numbers[rows]] = True
        return {
            "held": verdict.applies & ~broken,
            "broken": broken,
            "not_applicable": ~verdict.applies,
        }

    @cached_property
    def _summed(self) -> Any:
        counts = [
            {status: int(which.sum()) for status, which in self._status(place).items()}
            for place in range(len(self.rules))
        ]
        shares = [
            one["held"] / (one["held"] + one["broken"]) if one["held"] + one["broken"] else None
            for one in counts
        ]
        statuses = ("held", "broken", "not_applicable")
        return pa.table(
            {
                "rule": pa.array([rule.name for rule in self.rules], pa.string()),
                **{name: pa.array([one[name] for one in counts], pa.int64()) for name in statuses},
                "share_held": pa.array(shares, pa.float64()),
            }
        )

    def _place(self, rule: Rule | str) -> int:
        name = rule.name if isinstance(rule, Rule) else rule
        names = [known.name for known in self.rules]
        if name not in names:
            raise unknown("rule", name, names)
        return names.index(name)

    def __repr__(self) -> str:
        broken = sum(bool(verdict.broken) for verdict in self._verdicts)
        return (
            f"Checked({len(self.rules):,} rules, {broken:,} of them broken; "
            f"{self._steps.cases:,} cases)"
        )

    def _repr_html_(self) -> str:
        rows = [
            (*row[:-1], None if row[-1] is None else f"{row[-1]:.1%}")
            for row in zip(*self._summed.to_pydict().values(), strict=True)
        ]
        names = ["rule", "held", "broken", "not applicable", "share held"]
        return html_table(names, rows, caption=repr(self))


def _rules(given: Rule | str | Iterable[Rule | str]) -> tuple[Rule, ...]:
    several = [given] if isinstance(given, Rule | str) else list(given)
    rules = []
    for one in several:
        if not isinstance(one, Rule | str):
            raise FlowError(
                f"{shown(one)} is no rule; say e.g. response('OrderPlaced', 'OrderShipped') of "
                "esnb.flow.rules, or 'OrderShipped never before OrderPaid'"
            )
        rules.append(read_rule(one) if isinstance(one, str) else one)
    names = [rule.name for rule in rules]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise FlowError(f"two rules are called {shown(twice)}; name one: rule.called('…')")
    return tuple(rules)


class _Finder:
    """Finds the events that rules are about, each kind of event once."""

    def __init__(self, flow: Flow, state: Timeline | None) -> None:
        self._flow = flow
        self._steps = flow.built()
        self._state = state
        self._known: dict[str, Bools] = {}

    def verdict(self, rule: Rule, until: int | None) -> Verdict:
        first = self._events(rule.first)
        second = first if rule.second is None else self._events(rule.second)
        actors = self._actors(first | second) if rule.kind == "four_eyes" else None
        # Without a limit, nothing is ever too late.
        limit = until if rule.within is not None else None
        return judged(Asked(rule, self._steps, first, second, actors, limit))

    def _events(self, text: str) -> Bools:
        """Return for each event whether it is one of these."""
        found = self._known.get(text)
        if found is None:
            steps, selection = self._steps, self._flow.selection
            element = self._element(text)
            if text not in steps.types:
                conditions.check_types(selection, steps, [element], text)
            of_types = taken(element, steps.types)[steps.type_ids]
            held = conditions.held(selection, steps, [element], text, self._state)
            found = self._known[text] = held.get(key_of(element), of_types)
        return found

    def _element(self, text: str) -> Element:
        exact = Element(1, text, (text,), places=(0,))
        if text in self._steps.types:
            return exact
        try:
            return parse_element(text)
        except FlowError:
            if _SIGNS.search(text):
                raise
        # A type of several words, that only other parts of the log have or none.
        return exact

    def _actors(self, asked: Bools) -> Ints:
        """Return a number for the actor of each event that is asked for; -1 without one."""
        steps = self._steps
        rows = np.flatnonzero(asked)
        cursor = self._flow.selection.events_cursor()
        cursor.register(
            "_esnb_asked", pa.table({"position": conditions.distinct(steps.positions[rows])})
        )
        found = cursor.sql(
            "SELECT e.position, e.actor FROM events AS e"
            " SEMI JOIN _esnb_asked AS a ON a.position = e.position ORDER BY e.position"
        ).to_arrow_table()
        coded = found["actor"].combine_chunks().dictionary_encode()
        numbers = coded.indices.fill_null(-1).to_numpy().astype(np.int64)
        actors = np.full(len(steps), -1, np.int64)
        place = np.searchsorted(found["position"].to_numpy(), steps.positions[rows])
        actors[rows] = numbers[place]
        return actors
