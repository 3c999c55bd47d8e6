"""The slow matcher: plain backtracking over the events of one case, as the documentation says."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from esnb.flow.grammar import Anchor, Choice, Element, Limit, Node, Repeat
from esnb.flow.grammar import Sequence as Items

SIGNS = {"<=": operator.le, "<": operator.lt, ">=": operator.ge, ">": operator.gt}


@dataclass(frozen=True)
class Seen:
    """One event: its type, when it happened, and for which conditions it stands."""

    event_type: str
    at: int = 0
    holds: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Case:
    events: Sequence[Seen]
    length: Callable[[str], int] = int
    within: int | None = None

    def matches(self, pattern: Node) -> list[tuple[int, int, tuple[int | None, ...]]]:
        """Return begin, end and the numbers of the elements of each match."""
        found, start = [], 0
        while start < len(self.events):
            way = next((way for way in self.ways(pattern, start, start) if way[0] > start), None)
            if way is None:
                start += 1
            else:
                found.append((start, *way))
                start = way[0]
        return found

    def takes(self, element: Element, place: int, start: int) -> bool:
        event = self.events[place]
        named = element.names is None or (event.event_type in element.names) != element.negated
        held = element.condition is None or element.condition in event.holds
        late = self.within is not None and event.at - self.events[start].at > self.within
        return named and held and not late

    def ways(
        self, node: Node, place: int, start: int
    ) -> Iterator[tuple[int, tuple[int | None, ...]]]:
        """Yield where the node may end and what it took, in the order in which `re` would."""
        if isinstance(node, Element):
            if place < len(self.events) and self.takes(node, place, start):
                yield place + 1, (node.number,)
        elif isinstance(node, Anchor):
            if place == (0 if node.sign == "^" else len(self.events)):
                yield place, ()
        elif isinstance(node, Limit):
            if 0 < place < len(self.events):
                wait = self.events[place].at - self.events[place - 1].at
                if SIGNS[node.sign](wait, self.length(node.length)):
                    yield place, ()
        elif isinstance(node, Choice):
            for option in node.options:
                yield from self.ways(option, place, start)
        elif isinstance(node, Items):
            yield from self.in_turn(node.items, place, start)
        else:
            yield from self.again(node, place, start, 0, None)

    def in_turn(
        self, items: Sequence[Node], place: int, start: int
    ) -> Iterator[tuple[int, tuple[int | None, ...]]]:
        if not items:
            yield place, ()
            return
        for end, taken in self.ways(items[0], place, start):
            for last, more in self.in_turn(items[1:], end, start):
                yield last, taken + more

    def again(
        self, node: Repeat, place: int, start: int, count: int, before: int | None
    ) -> Iterator[tuple[int, tuple[int | None, ...]]]:
        """Yield the ways of rounds from `count` on; a round that took nothing is the last."""
        needed = count < node.least
        if node.lazy and not needed:
            yield place, ()
        if needed or ((node.most is None or count < node.most) and place != before):
            for end, taken in self.ways(node.item, place, start):
                began = before if needed else place
                for last, more in self.again(node, end, start, count + 1, began):
                    yield last, taken + more
        if not node.lazy and not needed:
            yield place, ()
