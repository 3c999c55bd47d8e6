"""A pattern as an automaton: behind each element, the elements that may come next, best first.

The order is that in which Python's ``re`` would try them.  What it does between two events
depends on nothing but the place between them, so all of it is worked out here, once.
"""

from __future__ import annotations

from dataclasses import dataclass

from esnb.errors import FlowError
from esnb.flow.grammar import Anchor, Choice, Element, Limit, Node, Repeat, Sequence, limits_of

__all__ = ["BEGIN", "END", "MATCH", "Automaton", "compiled"]

# What may hold at a place between events, as bits; behind them one for each limit.
BEGIN, END = 1, 2
_FIRST_LIMIT = 2

MATCH = -1
_MOST_LEAVES = 10_000
_MOST_STEPS = 1_000_000


@dataclass(frozen=True)
class Automaton:
    """Leaves, each of which takes one event, and what may come behind each.

    Attributes
    ----------
    leaves
        The elements; one that is repeated so and so often stands here as often.
    starts
        Leaves with which a match may begin: pairs of the bits that must hold at the place
        before it, and the leaf.  Best first.
    follow
        The same for what comes behind each leaf; `MATCH` as a leaf is the end of the match.
    limits
        Limits between neighbours, in the order of their bits.
    """

    leaves: tuple[Element, ...]
    starts: tuple[tuple[int, int], ...]
    follow: tuple[tuple[tuple[int, int], ...], ...]
    limits: tuple[Limit, ...]


# --- a program of instructions, as of a backtracking matcher ----------------------------------


@dataclass
class _Leaf:
    leaf: int
    then: int


@dataclass
class _Assert:
    bit: int
    then: int


@dataclass
class _Split:
    """Try one way, then the other ones."""

    ways: tuple[int, ...]


@dataclass
class _Enter:
    """A round of a loop begins, which counts only if it takes an event."""

    loop: int
    then: int


@dataclass
class _Fresh:
    """A loop begins whose first round may be empty."""

    loop: int
    then: int


@dataclass
class _Round:
    """A round of a loop is over: go on if it took an event, leave if it did not."""

    loop: int
    on: int
    leave: int


@dataclass
class _Match:
    pass


_Instruction = _Leaf | _Assert | _Split | _Enter | _Fresh | _Round | _Match


def compiled(node: Node) -> Automaton:
    """Return the automaton of a pattern.

    Raises
    ------
    FlowError
        If there are too many elements once repetitions are written out, or too many ways
        from one to another.
    """
    return _Compiler(node).automaton()


class _Compiler:
    def __init__(self, node: Node) -> None:
        self._program: list[_Instruction] = []
        # For each instruction the loops that it stands in: of others nothing matters there.
        self._inside: list[frozenset[int]] = []
        self._around: tuple[int, ...] = ()
        self._leaves: list[Element] = []
        self._behind: list[int] = []
        self._loops = 0
        self._steps = 0
        self._limits = tuple(limits_of(node))
        self._bits = {limit: 1 << (_FIRST_LIMIT + i) for i, limit in enumerate(self._limits)}
        self._start = self._of(node, self._add(_Match()))

    def automaton(self) -> Automaton:
        # Leaves of one choice have the same behind them.
        behind = {then: self._next(then) for then in dict.fromkeys(self._behind)}
        follow = tuple(behind[then] for then in self._behind)
        # A match of no event is none.
        starts = tuple(option for option in self._next(self._start) if option[1] != MATCH)
        return Automaton(tuple(self._leaves), starts, follow, self._limits)

    def _add(self, instruction: _Instruction) -> int:
        self._program.append(instruction)
        self._inside.append(frozenset(self._around))
        return len(self._program) - 1

    def _of(self, node: Node, then: int) -> int:
        """Return the instruction with which `node` begins, and behind which `then` comes."""
        if isinstance(node, Element):
            if len(self._leaves) == _MOST_LEAVES:
                raise FlowError(
                    f"the pattern has more than {_MOST_LEAVES:,} elements once its repetitions are "
                    "written out; ask for fewer times, or for {n,} without an end"
                )
            self._leaves.append(node)
            self._behind.append(then)
            return self._add(_Leaf(len(self._leaves) - 1, then))
        if isinstance(node, Anchor):
            return self._add(_Assert(BEGIN if node.sign == "^" else END, then))
        if isinstance(node, Limit):
            return self._add(_Assert(self._bits[node], then))
        if isinstance(node, Sequence):
            for item in reversed(node.items):
                then = self._of(item, then)
            return then
        if isinstance(node, Choice):
            return self._add(_Split(tuple(self._of(option, then) for option in node.options)))
        return self._repeat(node, then)

    def _repeat(self, node: Repeat, then: int) -> int:
        if node.most is None:
            if node.least:
                start = self._at_least_once(node.item, then)
            else:
                start = self._any_times(node.item, then, lazy=node.lazy)
        else:
            start = then
            for _ in range(node.most - node.least):
                start = self._once_more(node.item, start, then)
        for _ in range(node.least - (node.most is None and node.least > 0)):
            start = self._of(node.item, start)
        return start

    def _any_times(self, item: Node, then: int, *, lazy: bool) -> int:
        loop, outside = self._loop()
        over = self._add(_Round(loop, 0, then))
        enter = self._add(_Enter(loop, self._of(item, over)))
        ways = (then, enter) if lazy else (enter, then)
        self._around = outside
        split = self._add(_Split(ways))
        self._program[over] = _Round(loop, split, then)
        return split

    def _at_least_once(self, item: Node, then: int) -> int:
        loop, outside = self._loop()
        over = self._add(_Round(loop, 0, then))
        body = self._of(item, over)
        enter = self._add(_Enter(loop, body))
        self._program[over] = _Round(loop, self._add(_Split((enter, then))), then)
        self._around = outside
        return self._add(_Fresh(loop, body))

    def _once_more(self, item: Node, on: int, leave: int) -> int:
        loop, outside = self._loop()
        body = self._of(item, self._add(_Round(loop, on, leave)))
        enter = self._add(_Enter(loop, body))
        self._around = outside
        return self._add(_Split((enter, leave)))

    def _loop(self) -> tuple[int, tuple[int, ...]]:
        outside = self._around
        self._loops += 1
        self._around = (*outside, self._loops)
        return self._loops, outside

    # --- what may come next ----------------------------------------------------------------

    def _next(self, start: int) -> tuple[tuple[int, int], ...]:
        """Return the leaves that may come next where an instruction stands, best first."""
        found: dict[int, list[int]] = {}
        options: list[tuple[int, int]] = []
        seen: set[tuple[int, int, frozenset[int]]] = set()
        empty: frozenset[int] = frozenset()
        rest: list[tuple[int, int, frozenset[int]]] = [(start, 0, empty)]
        while rest:
            place, bits, rounds = rest.pop()
            if rounds:
                rounds &= self._inside[place]
            if (place, bits, rounds) in seen:
                continue
            seen.add((place, bits, rounds))
            self._steps += 1
            if self._steps > _MOST_STEPS:
                raise FlowError(
                    "the pattern has too many ways from one event to the next; repeat fewer things "
                    "that may be left out, as in (A?){100}"
                )
            one = self._program[place]
            if isinstance(one, _Leaf | _Match):
                target = one.leaf if isinstance(one, _Leaf) else MATCH
                earlier = found.setdefault(target, [])
                # The same leaf under weaker conditions was tried before.
                if all(known & ~bits for known in earlier):
                    earlier.append(bits)
                    options.append((bits, target))
            elif isinstance(one, _Assert):
                rest.append((one.then, bits | one.bit, rounds))
            elif isinstance(one, _Split):
                rest.extend((way, bits, rounds) for way in reversed(one.ways))
            elif isinstance(one, _Enter):
                rest.append((one.then, bits, rounds | {one.loop}))
            elif isinstance(one, _Fresh):
                rest.append((one.then, bits, rounds - {one.loop}))
            elif one.loop in rounds:
                rest.append((one.leave, bits, rounds))
            else:
                rest.append((one.on, bits, rounds))
        return tuple(options)
