"""Patterns are found as Python's `re` finds them, in all cases at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from esnb.errors import FlowError
from esnb.flow import search as searching
from esnb.flow import timed
from esnb.flow.grammar import elements_of, parse
from esnb.flow.letters import key_of
from esnb.flow.pattern import Pattern
from esnb.flow.steps import Steps
from tests.flow.slow_match import Case, Seen

TYPES = "abcd"
CONDITIONS = ("x", "y")
Match = tuple[int, int, tuple[int | None, ...]]


def steps_of(cases: Sequence[Sequence[Seen]]) -> Steps:
    types = sorted({event.event_type for case in cases for event in case})
    numbers = {name: number for number, name in enumerate(types)}
    events = [event for case in cases for event in case]
    return Steps(
        tuple(types),
        np.array([numbers[event.event_type] for event in events], np.int32),
        np.array([event.at for event in events], np.int64),
        np.arange(len(events), dtype=np.int64),
        np.cumsum([0, *map(len, cases)]).astype(np.int64),
        pa.array([f"case-{number}" for number in range(len(cases))], pa.large_string()),
    )


def found(text: str, cases: Sequence[Sequence[Seen]], within: int | None = None) -> list[Any]:
    """Return for each case the matches: begin, end, numbers of the elements."""
    pattern = Pattern.read(text)
    held = {
        key_of(element): np.array(
            [element.condition in event.holds for case in cases for event in case], np.bool_
        )
        for element in pattern.elements
        if element.condition is not None
    }
    lengths = [int(limit.length) for limit in pattern.automaton.limits]
    steps = steps_of(cases)
    got = pattern.find(steps, held, lengths, within)
    result: list[list[Match]] = [[] for _ in cases]
    at = 0
    for case, first, end in zip(got.cases, got.firsts, got.ends, strict=True):
        numbers = got.numbers[at : at + end - first].tolist()
        at += end - first
        begin = first - steps.firsts[case]
        taken = tuple(number or None for number in numbers)
        result[case].append((int(begin), int(begin + end - first), taken))
    assert at == len(got.numbers) == len(got.rows)
    return result


def word(text: str) -> list[Seen]:
    return [Seen(letter, place) for place, letter in enumerate(text)]


@st.composite
def patterns(draw: st.DrawFn, extras: bool = False, depth: int = 3) -> tuple[str, str]:
    """Draw a pattern as we write it, and as `re` does (but for conditions and limits)."""
    kinds = ["type", "type", "type", "any", "none", "anchor", "gap"]
    if extras:
        kinds += ["condition", "limit"]
    if depth:
        kinds += ["sequence", "choice", "repeat", "repeat"]
    kind = draw(st.sampled_from(kinds))
    inner = patterns(extras=extras, depth=depth - 1)
    letters = draw(st.lists(st.sampled_from(TYPES), min_size=1, max_size=2))
    if kind == "type":
        return draw(st.sampled_from([(letters[0], letters[0]), (f'"{letters[0]}"', letters[0])]))
    if kind == "condition":
        return (
            f"{draw(st.sampled_from([letters[0], '.', '!a']))}[{draw(st.sampled_from('xy'))}]",
            "",
        )
    if kind == "limit":
        return f"({draw(st.sampled_from(['<', '<=', '>', '>=']))}{draw(st.integers(0, 3))})", ""
    if kind == "any":
        return ".", "."
    if kind == "none":
        return f"!({' | '.join(letters)})", f"[^{''.join(letters)}]"
    if kind == "anchor":
        return draw(st.sampled_from([("^", r"\A"), ("$", r"\Z")]))
    if kind == "gap":
        return "...", ".*?"
    if kind == "repeat":
        ours, theirs = draw(inner)
        times = draw(st.sampled_from(["?", "*", "+", "{2}", "{1,}", "{2,}", "{0,2}", "{1,3}"]))
        return f"({ours}){times}", f"(?:{theirs}){times}"
    parts = draw(st.lists(inner, min_size=2, max_size=3))
    if kind == "choice":
        return f"({'|'.join(p for p, _ in parts)})", f"(?:{'|'.join(p for _, p in parts)})"
    return " ".join(p for p, _ in parts), "".join(p for _, p in parts)


def has_event(pattern: tuple[str, str]) -> bool:
    return re.search("[abcd.]", pattern[0].replace("...", "")) is not None


WORDS = st.lists(st.text(TYPES, min_size=1, max_size=9), min_size=1, max_size=5)


def both_ways(run: Callable[[], Any]) -> Any:
    """Return what comes out in columns, which is what comes out case by case."""
    got = []
    for few in (0, 1000):
        with pytest.MonkeyPatch.context() as patch:
            for module in (searching, timed):
                patch.setattr(module, "FEW", few)
            got.append(run())
    assert got[0] == got[1]
    return got[0]


@settings(max_examples=400)
@given(patterns().filter(has_event), WORDS)
@example(("(a?|b)*", "(?:a?|b)*"), ["bab"])
@example(("(a*)* b", "(?:a*)*b"), ["aaaa", "aab"])
@example(("(a|a b) (c|b c d)", "(?:a|ab)(?:c|bcd)"), ["abcd"])
def test_equal_to_re(pattern: tuple[str, str], words: list[str]) -> None:
    ours, theirs = pattern
    compiled = re.compile(theirs, re.DOTALL)
    got = both_ways(lambda: found(ours, [word(text) for text in words]))
    for text, matches in zip(words, got, strict=True):
        expected = [m.span() for m in compiled.finditer(text) if m[0]]
        assert [match[:2] for match in matches] == expected
        # Each event was taken by an element that takes it.
        assert matches == Case(word(text)).matches(parse(ours))


CASES = st.lists(
    st.lists(
        st.builds(
            Seen,
            st.sampled_from(TYPES),
            st.integers(0, 8),
            st.frozensets(st.sampled_from(CONDITIONS)),
        ),
        min_size=1,
        max_size=9,
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=400)
@given(
    patterns(extras=True).filter(has_event),
    CASES,
    st.one_of(st.none(), st.integers(0, 6)),
    st.booleans(),
)
def test_conditions_and_limits_in_time_equal_the_slow_matcher(
    pattern: tuple[str, str], cases: list[list[Seen]], within: int | None, by_time: bool
) -> None:
    if by_time:
        cases = [sorted(case, key=lambda event: event.at) for case in cases]
    text = pattern[0]
    got = both_ways(lambda: found(text, cases, within))
    for case, matches in zip(cases, got, strict=True):
        assert matches == Case(case, within=within).matches(parse(text))


@given(
    st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=20), min_size=1, max_size=4),
    st.integers(-1, 9),
)
def test_the_first_place_beyond_a_limit(cases: list[list[int]], more: int) -> None:
    values = np.array([value for case in cases for value in case], np.int64)
    ends = np.cumsum([len(case) for case in cases])
    starts = np.arange(len(values))
    bounds = np.repeat(ends, [len(case) for case in cases])
    limits = values + more
    got = timed.first_beyond(values, starts, limits, bounds)
    for start, end, limit, place in zip(starts, bounds, limits, got, strict=True):
        beyond = [here for here in range(start, end) if values[here] > limit]
        assert place == (beyond[0] if beyond else end)


def test_hostile_patterns_are_found_in_linear_time() -> None:
    # Each of these takes a backtracking matcher for ever.
    case = word("a" * 200_000)
    for text in ("(a*)* b", "(a+)+ b", "(a|a)* b", "a* a* a* a* a* b", "(a|. )* ... b", "a ... b"):
        assert found(text, [case]) == [[]]
        assert found(text, [case], within=10) == [[]]
    ((first, *others),) = found("(a*)* a{2}", [case])
    assert first[:2] == (0, 200_000)
    assert not others


def test_a_case_of_a_million_events_and_a_thousand_types() -> None:
    million = 1_000_000
    events = np.arange(million) % 1000
    types = tuple(sorted(f"type {number}" for number in range(1000)))
    steps = Steps(
        types,
        np.array([types.index(f"type {number}") for number in range(1000)], np.int32)[events],
        np.arange(million, dtype=np.int64),
        np.arange(million, dtype=np.int64),
        np.array([0, million], np.int64),
        pa.array(["case"], pa.large_string()),
    )
    got = Pattern.read('"type 1" ... "type 500" !"type 7"+ "type 999"').find(steps, {}, [])
    assert len(got) == 1000
    assert got.firsts.tolist() == list(range(1, million, 1000))
    assert set((got.ends - got.firsts).tolist()) == {999}
    within = Pattern.read('"type 1" .* "type 500"').find(steps, {}, [], 1999)
    assert within.ends.tolist()[:2] == [1501, 3501]


def test_a_pattern_of_a_thousand_types() -> None:
    types = [f"t{number}" for number in range(1200)]
    case = [Seen(name, place) for place, name in enumerate(types[1:])]
    (matches,) = found(f"({'|'.join(types)}){{3}} ({'|'.join(types)})* t1199 $", [case])
    assert [match[:2] for match in matches] == [(0, 1199)]
    assert matches[0][2][:4] == (2, 3, 4, 1205)


def test_too_much_is_refused() -> None:
    with pytest.raises(FlowError, match="10,000 elements once its repetitions"):
        Pattern.read("((a b){1000}){1000}")
    with pytest.raises(FlowError, match="too many ways"):
        Pattern.read("((a?){1000} (b?){1000}){3}")
    rng = np.random.default_rng(7)
    case = [Seen("ab"[bit], place) for place, bit in enumerate(rng.integers(0, 2, 200_000))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(searching, "_MOST_ENTRIES", 100_000)
        with pytest.raises(FlowError, match="too involved"):
            found("a .{40} b", [case])


def test_elements_are_numbered_as_written() -> None:
    (matches,) = found("a (b|c){2} ... d", [word("abcaad")])
    assert matches == [(0, 6, (1, 2, 3, None, None, 4))]
    assert [element.text for element in elements_of(parse("a (b|!c)* ... .[x = ']']"))] == [
        "a", "b", "!c", ".[x = ']']",
    ]  # fmt: skip
