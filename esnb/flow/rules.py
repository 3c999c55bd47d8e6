"""Rules about what must come before or after what, as in Declare; checked by `Flow.check`.

Each takes event types, or elements as in a pattern: ``"PaymentFailed[data.amount > 100]"``,
``"(A|B)"``, ``"!A"``, ``"."``.  A text that is an event type as it stands means that type.
Two events are always two different ones.  ``docs/patterns.md`` says what each rule means.

>>> response("OrderPlaced", "OrderShipped", within="7d").name
'response(OrderPlaced, OrderShipped, within 7d)'
>>> read_rule("OrderShipped never before PaymentReceived")
'OrderShipped never before PaymentReceived': precedence(PaymentReceived, OrderShipped)
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Literal

from esnb.errors import FlowError, shown
from esnb.flow import spans
from esnb.flow.grammar import fault, leading_element

__all__ = [
    "Rule",
    "absence",
    "alternate_precedence",
    "alternate_response",
    "alternate_succession",
    "at_most",
    "chain_precedence",
    "chain_response",
    "chain_succession",
    "coexistence",
    "exactly",
    "existence",
    "four_eyes",
    "init",
    "last",
    "not_chain_succession",
    "not_coexistence",
    "not_succession",
    "precedence",
    "read_rule",
    "responded_existence",
    "response",
    "succession",
]

Missing = Literal["broken", "ignore"]
_MOST = 1_000_000


@dataclass(frozen=True)
class Rule:
    """One rule; made by the functions of this module.

    Attributes
    ----------
    kind
        Name of the function that made it.
    first, second
        The elements; no second one for a rule about one.
    number
        How often, for rules that count.
    within
        Limit in time.
    missing
        What an event without actor is to `four_eyes`.
    name
        What it is called in results: as it is written, unless a name was given.
    """

    kind: str
    first: str
    second: str | None = None
    number: int | None = None
    within: str | timedelta | None = None
    missing: Missing | None = None
    name: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        for text in (self.first, self.second):
            if text is not None and (not isinstance(text, str) or not text):
                raise FlowError(f"{self.kind}: {shown(text)} is no event type; say it as text")
        if self.within is not None:
            spans.micros(self.within)
        if not isinstance(self.name, str):
            raise FlowError(f"name={shown(self.name)}: say the name of a rule as text")
        if not self.name:
            object.__setattr__(self, "name", self._said())

    def called(self, name: str) -> Rule:
        """Return the same rule under another name."""
        return replace(self, name=name)

    def _said(self) -> str:
        parts = [self.first]
        if self.second is not None:
            parts.append(self.second)
        if self.number is not None:
            parts.append(str(self.number))
        if self.within is not None:
            parts.append(f"within {self.within}")
        if self.missing == "ignore":
            parts.append("missing ignored")
        return f"{self.kind}({', '.join(parts)})"

    def __repr__(self) -> str:
        return self.name if self.name == self._said() else f"{self.name!r}: {self._said()}"


Within = str | timedelta | None


def existence(event: str, number: int = 1) -> Rule:
    """Happens at least `number` times."""
    return Rule("existence", event, number=_count(number, 1))


def absence(event: str) -> Rule:
    """Never happens."""
    return Rule("absence", event)


def at_most(event: str, number: int = 1) -> Rule:
    """Happens no more than `number` times."""
    return Rule("at_most", event, number=_count(number, 0))


def exactly(event: str, number: int = 1) -> Rule:
    """Happens exactly `number` times."""
    return Rule("exactly", event, number=_count(number, 0))


def init(event: str) -> Rule:
    """Is the first event of the case."""
    return Rule("init", event)


def last(event: str) -> Rule:
    """Is the last event of the case."""
    return Rule("last", event)


def response(first: str, second: str, *, within: Within = None) -> Rule:
    """Behind each `first` comes a `second`, some time."""
    return Rule("response", first, second, within=within)


def precedence(first: str, second: str, *, within: Within = None) -> Rule:
    """Before each `second` came a `first`, some time."""
    return Rule("precedence", first, second, within=within)


def succession(first: str, second: str, *, within: Within = None) -> Rule:
    """Both `response` and `precedence`."""
    return Rule("succession", first, second, within=within)


def alternate_response(first: str, second: str, *, within: Within = None) -> Rule:
    """Behind each `first` comes a `second`, and no other `first` before it."""
    return Rule("alternate_response", first, second, within=within)


def alternate_precedence(first: str, second: str, *, within: Within = None) -> Rule:
    """Before each `second` came a `first`, and no other `second` since."""
    return Rule("alternate_precedence", first, second, within=within)


def alternate_succession(first: str, second: str, *, within: Within = None) -> Rule:
    """Both `alternate_response` and `alternate_precedence`."""
    return Rule("alternate_succession", first, second, within=within)


def chain_response(first: str, second: str, *, within: Within = None) -> Rule:
    """The very next event behind each `first` is a `second`."""
    return Rule("chain_response", first, second, within=within)


def chain_precedence(first: str, second: str, *, within: Within = None) -> Rule:
    """The event just before each `second` is a `first`."""
    return Rule("chain_precedence", first, second, within=within)


def chain_succession(first: str, second: str, *, within: Within = None) -> Rule:
    """Both `chain_response` and `chain_precedence`."""
    return Rule("chain_succession", first, second, within=within)


def responded_existence(first: str, second: str, *, within: Within = None) -> Rule:
    """With each `first` there is a `second`, before or behind it."""
    return Rule("responded_existence", first, second, within=within)


def coexistence(first: str, second: str, *, within: Within = None) -> Rule:
    """Neither is there without the other: `responded_existence` both ways."""
    return Rule("coexistence", first, second, within=within)


def not_coexistence(first: str, second: str, *, within: Within = None) -> Rule:
    """Not both in one case; with a limit, not both in that time."""
    return Rule("not_coexistence", first, second, within=within)


def not_succession(first: str, second: str, *, within: Within = None) -> Rule:
    """No `second` comes behind a `first`; with a limit, not in that time."""
    return Rule("not_succession", first, second, within=within)


def not_chain_succession(first: str, second: str, *, within: Within = None) -> Rule:
    """No `second` is the very next event behind a `first`."""
    return Rule("not_chain_succession", first, second, within=within)


def four_eyes(first: str, second: str, *, missing: Missing = "broken") -> Rule:
    """No actor does both `first` and `second` in one case.

    Parameters
    ----------
    missing
        An event without actor cannot be shown to be by another one, so it is ``"broken"``; or
        ``"ignore"`` it.
    """
    if missing not in ("broken", "ignore"):
        raise FlowError(f"missing={shown(missing)}: say 'broken' or 'ignore'")
    return Rule("four_eyes", first, second, missing=missing)


def _count(number: int, least: int) -> int:
    whole = isinstance(number, int) and not isinstance(number, bool)
    if not whole or not least <= number <= _MOST:
        raise FlowError(f"{shown(number)} is no number of times; say a whole number from {least}")
    return number


# --- rules as sentences ---------------------------------------------------------------------

_ALONE = {
    "always": lambda a: existence(a),
    "never": lambda a: absence(a),
    "first": lambda a: init(a),
    "last": lambda a: last(a),
    "exactly once": lambda a: exactly(a),
    "at most once": lambda a: at_most(a),
}
_BETWEEN = {
    "followed by": lambda a, b, w: response(a, b, within=w),
    "directly followed by": lambda a, b, w: chain_response(a, b, within=w),
    "only after": lambda a, b, w: precedence(b, a, within=w),
    "only directly after": lambda a, b, w: chain_precedence(b, a, within=w),
    "never before": lambda a, b, w: precedence(b, a, within=w),
    "never after": lambda a, b, w: not_succession(b, a, within=w),
    "never directly after": lambda a, b, w: not_chain_succession(b, a, within=w),
    "never with": lambda a, b, w: not_coexistence(a, b, within=w),
    "never without": lambda a, b, w: responded_existence(a, b, within=w),
}
_PHRASE = {
    phrase: re.compile(r"\s+".join(phrase.split()) + r"(?!\w)", re.IGNORECASE)
    # The longest first: "never" begins others.
    for phrase in sorted({*_ALONE, *_BETWEEN}, key=len, reverse=True)
}
_WITHIN = re.compile(r"\s*within\s+(.+)", re.IGNORECASE | re.DOTALL)


def read_rule(text: str) -> Rule:
    """Return the rule that a sentence says, which is its name.

    ``A followed by B``, ``A directly followed by B``, ``A only after B``, ``A only directly
    after B``, ``A never before B`` (the same as only after), ``A never after B``, ``A never
    directly after B``, ``A never with B``, ``A never without B``, each with ``within 7d`` behind
    it or not; ``A always``, ``A never``, ``A first``, ``A last``, ``A exactly once``, ``A at most
    once``.  A and B are elements of patterns.

    Raises
    ------
    FlowError
        With a caret under the place where it is none.
    """
    first, place = leading_element(text, 0)
    found = next(filter(None, (pattern.match(text, place) for pattern in _PHRASE.values())), None)
    if found is None:
        known = ", ".join((*_BETWEEN, *_ALONE))
        raise fault(text, place, f"here must stand one of: {known}")
    phrase = " ".join(found[0].lower().split())
    if phrase in _ALONE:
        if text[found.end() :].strip():
            raise fault(text, found.end(), f"nothing may stand behind {phrase!r}")
        return _ALONE[phrase](first.text).called(text.strip())
    second, place = leading_element(text, found.end())
    rest = _WITHIN.fullmatch(text, place)
    if rest is None and text[place:].strip():
        raise fault(text, place, "behind a rule only a limit may stand: within 7d")
    try:
        rule = _BETWEEN[phrase](first.text, second.text, rest[1].strip() if rest else None)
    except FlowError as error:
        raise fault(text, rest.start(1) if rest else place, str(error)) from None
    return rule.called(text.strip())
