"""What a pattern may look like, and what is said of one that is wrong."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esnb.errors import FlowError
from esnb.flow.grammar import (
    Anchor,
    Choice,
    Element,
    Limit,
    Repeat,
    Sequence,
    elements_of,
    parse,
    parse_element,
)
from esnb.flow.pattern import Pattern


def test_the_tree_of_a_pattern() -> None:
    tree = parse("^ OrderPlaced (\"Payment failed\"|!A){3,} ... (<= 2 h) .[x[1] = ']'] $")
    assert isinstance(tree, Sequence)
    start, placed, group, gap, limit, last, end = tree.items
    assert (start, end) == (Anchor("^"), Anchor("$"))
    assert placed == Element(1, "OrderPlaced", ("OrderPlaced",), places=(2,))
    assert isinstance(group, Repeat)
    assert (group.least, group.most) == (3, None)
    assert isinstance(group.item, Choice)
    failed, other = group.item.options
    assert failed == Element(2, '"Payment failed"', ("Payment failed",), places=(15,))
    assert other == Element(3, "!A", ("A",), negated=True, places=(33,))
    assert gap == Repeat(Element(None, "...", None), 0, None, lazy=True)
    assert limit == Limit("<=", "2 h", 48)
    assert isinstance(last, Element)
    assert (last.number, last.names, last.condition) == (4, None, "x[1] = ']'")
    assert [element.number for element in elements_of(tree)] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("A B|C D", "(A B) | (C D)"),
        ("A{2}", "A { 2 }"),
        ("A{2,}", "(A){ 2 , }"),
        ("A\n\tB", "A B"),
        ("!A", "! (A)"),
        ("!(A|B)", "!( A | B )"),
        ("A...B", "A ... B"),
        ("a_1 é 3D", '"a_1" "\\u00e9" \'3D\''),
        ("....", "... ."),
    ],
)
def test_two_ways_to_write_it(text: str, same: str) -> None:
    first, second = Pattern.read(text).automaton, Pattern.read(same).automaton
    assert (first.starts, first.follow) == (second.starts, second.follow)
    assert [(e.names, e.negated) for e in first.leaves] == [
        (e.names, e.negated) for e in second.leaves
    ]


@pytest.mark.parametrize(
    ("text", "reason", "column"),
    [
        ("", "an event is missing here", 0),
        ("A | ", "an event is missing here", 4),
        ("A (", "an event is missing here", 3),
        ("A (B", "this ( is not closed", 2),
        ("A )", "there is no ( for this )", 2),
        ("A ()", "an event is missing here", 3),
        ("* A", "nothing to repeat", 0),
        ("A ** B", "a repetition already", 3),
        ("A+?", "a repetition already", 2),
        ("^*", "only events and groups", 1),
        ("A ...+ B", "only events and groups", 5),
        ("A{3,2}", "from 3 to 2 times", 1),
        ("A{,2}", "a number of times is written", 1),
        ("A{1001}", "more than 1000 times", 1),
        ("A{99999999999999999999999}", "more than 1000 times", 1),
        ("A{2", "a number of times is written", 1),
        ("A B[x", "this [ is not closed", 3),
        ("A[ ]", "the condition is empty", 1),
        ("[x]", "a condition stands behind an event", 0),
        ("A - B", "'-' means nothing here", 2),
        ('A "B', "this quote is not closed", 2),
        ('A "\\q"', "is no escape", 3),
        ("! B C !", "behind ! must stand a type", 7),
        ("!(A B)", "between types stands |", 4),
        ("!(A|)", "here must stand a type", 4),
        ("^ $", "has no event", 0),
        ("(<=2h)", "has no event", 0),
        ("(" * 51, "more than 50 deep", 50),
    ],
)
def test_a_fault_is_pointed_at(text: str, reason: str, column: int) -> None:
    with pytest.raises(FlowError) as raised:
        parse(text)
    message = str(raised.value)
    assert reason in message
    *_, line, caret = message.split("\n")
    assert line[4:].lstrip("…").startswith(text[:30])
    before = 36 if line[4:].startswith("…") else column
    assert caret == " " * (4 + before + line.count("…", 0, 5)) + "^"


def test_the_line_of_a_fault_is_shown_and_cut() -> None:
    with pytest.raises(FlowError) as raised:
        parse("A B\n  C )\nD")
    assert str(raised.value).endswith("\n\n      C )\n        ^")
    with pytest.raises(FlowError) as raised:
        parse('"' + "x" * 10_000 + '" ) ' + "y" * 10_000)
    line, caret = str(raised.value).split("\n")[-2:]
    assert len(line) < 80
    assert line[len(caret) - 1] == ")"


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(FlowError):
        parse(text)


@given(st.text(min_size=1, max_size=20).filter(lambda t: t.encode("utf-16", "ignore")))
def test_any_type_can_be_quoted(name: str) -> None:
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    assert parse_element(f'"{escaped}"').names == (name,)
    escaped = name.replace("\\", "\\\\").replace("'", "\\'")
    assert parse_element(f"'{escaped}'").names == (name,)


def test_escapes() -> None:
    assert parse_element('"\\n\\t\\r\\u00e9\\ud83d\\ude00\\\\"').names == ("\n\t\ré\U0001f600\\",)


def test_one_element() -> None:
    assert parse_element(" (A | 'b c')[x > 1] ").names == ("A", "b c")
    assert parse_element("!A").negated
    assert parse_element(".").names is None
    for wrong in ("A B", "A+", "^", "", "(A", "...", "Order placed"):
        with pytest.raises(FlowError):
            parse_element(wrong)


def test_what_is_no_text() -> None:
    with pytest.raises(FlowError, match="is no pattern"):
        parse(b"A")  # type: ignore[arg-type]
    with pytest.raises(FlowError, match="1,048,576 are allowed"):
        parse("A" * (1024 * 1024 + 1))
