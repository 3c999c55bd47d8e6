"""What each rule means, over all cases at once: rows of the steps that break it, and where it says
anything at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from esnb.flow import spans
from esnb.flow.rules import Rule
from esnb.flow.steps import Bools, Ints, Steps

__all__ = ["Asked", "Verdict", "judged"]

_NEVER = 2**63 - 1


@dataclass(frozen=True, eq=False)
class Asked:
    """A rule with the events that it is about.

    Attributes
    ----------
    first, second
        For each event, whether it is one of these.
    actors
        For each event a number for its actor, -1 without one; for rules that ask for actors.
    until
        Up to when events are known, in microseconds; a limit that ends later is still open.
        None: every limit is over.
    """

    rule: Rule
    steps: Steps
    first: Bools
    second: Bools
    actors: Ints | None = None
    until: int | None = None

    @property
    def within(self) -> int:
        """The limit in microseconds."""
        return _NEVER if self.rule.within is None else spans.micros(self.rule.within)


@dataclass(eq=False)
class Verdict:
    """What a rule comes to.

    Attributes
    ----------
    applies
        For each case, whether the rule says anything about it.
    broken
        Rows that break it, and why: pairs of rows and a text for all of them.
    """

    applies: Bools
    broken: list[tuple[Ints, str]] = field(default_factory=list)

    def add(self, rows: Ints, why: str) -> None:
        if len(rows):
            self.broken.append((rows, why))


def judged(asked: Asked) -> Verdict:
    """Return what a rule comes to in all cases."""
    return _KINDS[asked.rule.kind](asked)


# --- events next to events --------------------------------------------------------------------


def _following(steps: Steps, rows: Ints, targets: Ints) -> Ints:
    """Return for each of `rows` the next target in its case, behind the row; -1 for none."""
    if not len(targets):
        return np.full(len(rows), -1, np.int64)
    at = np.searchsorted(targets, rows, "right")
    found = targets[np.minimum(at, len(targets) - 1)]
    none = (at == len(targets)) | (steps.case_numbers[found] != steps.case_numbers[rows])
    return np.where(none, -1, found)


def _preceding(steps: Steps, rows: Ints, targets: Ints) -> Ints:
    """Return for each of `rows` the last target in its case before the row; -1 for none."""
    if not len(targets):
        return np.full(len(rows), -1, np.int64)
    at = np.searchsorted(targets, rows, "left") - 1
    found = targets[np.maximum(at, 0)]
    none = (at < 0) | (steps.case_numbers[found] != steps.case_numbers[rows])
    return np.where(none, -1, found)


def _far(asked: Asked, earlier: Ints, later: Ints) -> Bools:
    """Return which pairs of rows are further apart than the limit allows."""
    at = asked.steps.at
    far: Bools = at[later] - at[earlier] > asked.within
    return far


def _cases_with(asked: Asked, *events: Bools) -> Bools:
    with_it = np.zeros(asked.steps.cases, np.bool_)
    for event in events:
        with_it[asked.steps.case_numbers[np.flatnonzero(event)]] = True
    return with_it


def _each(steps: Steps) -> Bools:
    return np.ones(steps.cases, np.bool_)


def _late(asked: Asked, other: str) -> str:
    return f"{other}, but not within {asked.rule.within}"


def _in_time(asked: Asked) -> str:
    return "" if asked.rule.within is None else f", within {asked.rule.within}"


# --- rules that count -------------------------------------------------------------------------


def _number(asked: Asked) -> Ints:
    """Return how many there are in each case."""
    rows = np.flatnonzero(asked.first)
    return np.bincount(asked.steps.case_numbers[rows], minlength=asked.steps.cases)


def _at_least(asked: Asked, number: int, verdict: Verdict) -> None:
    counts = _number(asked)
    last = asked.steps.firsts[1:] - 1
    for count in np.flatnonzero(np.bincount(counts[counts < number])).tolist():
        what = f"{count:,} {asked.rule.first} only" if count else f"no {asked.rule.first}"
        verdict.add(last[counts == count], f"{what} in the case, which ends here")


def _no_more_than(asked: Asked, number: int, verdict: Verdict) -> None:
    rows = np.flatnonzero(asked.first)
    counts = _number(asked)
    place = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    why = f"more than {number:,} {asked.rule.first}" if number else f"{asked.rule.first} happened"
    verdict.add(rows[place >= number], why)


def _existence(asked: Asked) -> Verdict:
    verdict = Verdict(_each(asked.steps))
    _at_least(asked, asked.rule.number or 1, verdict)
    return verdict


def _at_most(asked: Asked) -> Verdict:
    verdict = Verdict(_each(asked.steps))
    _no_more_than(asked, asked.rule.number or 0, verdict)
    return verdict


def _exactly(asked: Asked) -> Verdict:
    verdict = _at_most(asked)
    _at_least(asked, asked.rule.number or 0, verdict)
    return verdict


def _init(asked: Asked) -> Verdict:
    rows = asked.steps.firsts[:-1]
    verdict = Verdict(_each(asked.steps))
    verdict.add(rows[~asked.first[rows]], f"the case does not begin with {asked.rule.first}")
    return verdict


def _last(asked: Asked) -> Verdict:
    rows = asked.steps.firsts[1:] - 1
    verdict = Verdict(_each(asked.steps))
    verdict.add(rows[~asked.first[rows]], f"the case does not end with {asked.rule.first}")
    return verdict


# --- rules about order ------------------------------------------------------------------------


def _response(asked: Asked, *, alternate: bool = False, chain: bool = False) -> Verdict:
    steps = asked.steps
    first, second = np.flatnonzero(asked.first), np.flatnonzero(asked.second)
    after = _following(steps, first, second)
    there = after >= 0
    if asked.until is not None:
        # Nothing came yet, and something may: that says nothing of the case.
        open_ = ~there & (asked.until - steps.at[first] <= asked.within)
        if chain:
            open_ &= first == steps.firsts[steps.case_numbers[first] + 1] - 1
        if alternate:
            open_ &= _following(steps, first, first) < 0
        first, after, there = first[~open_], after[~open_], there[~open_]
    verdict = Verdict(_cases_of(steps, first))
    a, b = asked.rule.first, asked.rule.second
    if chain:
        next_ = there & (after == first + 1)
        verdict.add(first[~next_], f"{b} is not the next event")
        there = next_
    else:
        verdict.add(first[~there], f"no {b} follows")
    if alternate:
        again = _following(steps, first, np.flatnonzero(asked.first))
        between = there & (again >= 0) & (again < after)
        verdict.add(first[between], f"another {a} comes before {b}")
        there &= ~between
    far = there & _far(asked, first, after)
    verdict.add(first[far], _late(asked, f"{b} follows"))
    return verdict


def _precedence(asked: Asked, *, alternate: bool = False, chain: bool = False) -> Verdict:
    steps = asked.steps
    first, second = np.flatnonzero(asked.first), np.flatnonzero(asked.second)
    before = _preceding(steps, second, first)
    there = before >= 0
    verdict = Verdict(_cases_of(steps, second))
    a, b = asked.rule.first, asked.rule.second
    if chain:
        just = there & (before == second - 1)
        verdict.add(second[~just], f"{a} is not the event before")
        there = just
    else:
        verdict.add(second[~there], f"no {a} before it")
    if alternate:
        earlier = _preceding(steps, second, second)
        between = there & (earlier > before)
        verdict.add(second[between], f"another {b} came since {a}")
        there &= ~between
    far = there & _far(asked, before, second)
    verdict.add(second[far], _late(asked, f"{a} came before it"))
    return verdict


def _both(asked: Asked, *, alternate: bool = False, chain: bool = False) -> Verdict:
    verdict = _response(asked, alternate=alternate, chain=chain)
    other = _precedence(asked, alternate=alternate, chain=chain)
    return Verdict(verdict.applies | other.applies, [*verdict.broken, *other.broken])


def _cases_of(steps: Steps, rows: Ints) -> Bools:
    cases = np.zeros(steps.cases, np.bool_)
    cases[steps.case_numbers[rows]] = True
    return cases


# --- rules about being there ------------------------------------------------------------------


def _responded(asked: Asked) -> Verdict:
    verdict = Verdict(np.zeros(asked.steps.cases, np.bool_))
    _with(asked, asked.first, asked.second, asked.rule.second or "", verdict)
    return verdict


def _coexistence(asked: Asked) -> Verdict:
    verdict = _responded(asked)
    _with(asked, asked.second, asked.first, asked.rule.first, verdict)
    return verdict


def _with(asked: Asked, events: Bools, others: Bools, name: str, verdict: Verdict) -> None:
    """Note the events with which no other one is there."""
    steps = asked.steps
    rows, targets = np.flatnonzero(events), np.flatnonzero(others)
    before, after = _preceding(steps, rows, targets), _following(steps, rows, targets)
    near = (before >= 0) & ~_far(asked, before, rows)
    near |= (after >= 0) & ~_far(asked, rows, after)
    if asked.until is not None:
        # One may still come.
        open_ = ~near & (after < 0) & (asked.until - steps.at[rows] <= asked.within)
        rows, near = rows[~open_], near[~open_]
        before, after = before[~open_], after[~open_]
    there = (before >= 0) | (after >= 0)
    verdict.applies |= _cases_of(steps, rows)
    verdict.add(rows[~near & ~there], f"no {name} in the case")
    verdict.add(rows[~near & there], _late(asked, f"{name} is in the case"))


def _not_coexistence(asked: Asked) -> Verdict:
    verdict = Verdict(_cases_with(asked, asked.first, asked.second))
    _not_behind(asked, asked.first, asked.second, asked.rule.first, verdict)
    _not_behind(asked, asked.second, asked.first, asked.rule.second or "", verdict)
    return verdict


def _not_succession(asked: Asked) -> Verdict:
    verdict = Verdict(_cases_with(asked, asked.first))
    _not_behind(asked, asked.first, asked.second, asked.rule.first, verdict)
    return verdict


def _not_behind(asked: Asked, events: Bools, others: Bools, name: str, verdict: Verdict) -> None:
    """Note those of `others` that come behind one of `events`."""
    rows = np.flatnonzero(others)
    before = _preceding(asked.steps, rows, np.flatnonzero(events))
    behind = (before >= 0) & ~_far(asked, before, rows)
    verdict.add(rows[behind], f"{name} came before it{_in_time(asked)}")


def _not_chain(asked: Asked) -> Verdict:
    verdict = Verdict(_cases_with(asked, asked.first))
    rows = np.flatnonzero(asked.second)
    before = _preceding(asked.steps, rows, np.flatnonzero(asked.first))
    just = (before >= 0) & (before == rows - 1) & ~_far(asked, before, rows)
    verdict.add(rows[just], f"{asked.rule.first} is the event before{_in_time(asked)}")
    return verdict


def _four_eyes(asked: Asked) -> Verdict:
    steps, actors = asked.steps, asked.actors
    applies = _cases_with(asked, asked.first) & _cases_with(asked, asked.second)
    verdict = Verdict(applies)
    rows = np.flatnonzero((asked.first | asked.second) & applies[steps.case_numbers])
    known = rows if actors is None else rows[actors[rows] >= 0]
    if actors is not None and asked.rule.missing == "broken":
        verdict.add(rows[actors[rows] < 0], "no actor is known")
    if actors is None or not len(known):
        return verdict
    case = steps.case_numbers[known]
    order = np.lexsort((known, actors[known], case))
    own = known[order]
    new = (np.diff(case[order], prepend=-1) != 0) | (np.diff(actors[own], prepend=-1) != 0)
    begin = np.maximum.accumulate(np.where(new, np.arange(len(own)), 0))
    same = np.zeros(len(own), np.bool_)
    for mine, other in ((asked.first, asked.second), (asked.second, asked.first)):
        # How many of the other kind the actor did in this case before.
        done: Ints = np.cumsum(other[own]) - other[own]
        same |= mine[own] & (done > done[begin])
    verdict.add(np.sort(own[same]), "the same actor did both")
    return verdict


_KINDS: dict[str, Callable[[Asked], Verdict]] = {
    "existence": _existence,
    "absence": _at_most,
    "at_most": _at_most,
    "exactly": _exactly,
    "init": _init,
    "last": _last,
    "response": _response,
    "precedence": _precedence,
    "succession": _both,
    "alternate_response": lambda asked: _response(asked, alternate=True),
    "alternate_precedence": lambda asked: _precedence(asked, alternate=True),
    "alternate_succession": lambda asked: _both(asked, alternate=True),
    "chain_response": lambda asked: _response(asked, chain=True),
    "chain_precedence": lambda asked: _precedence(asked, chain=True),
    "chain_succession": lambda asked: _both(asked, chain=True),
    "responded_existence": _responded,
    "coexistence": _coexistence,
    "not_coexistence": _not_coexistence,
    "not_succession": _not_succession,
    "not_chain_succession": _not_chain,
    "four_eyes": _four_eyes,
}
