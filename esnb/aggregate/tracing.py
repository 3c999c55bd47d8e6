"""Running a handler on values that are not known yet, to see what it does on every way through it.

A handler is run once for each way: where a condition depends on the event or the state,
the first run takes it as true, another as false.  What comes out is a decision tree whose
leaves say which fields are set to what.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import CodeType, FrameType, FunctionType
from typing import Any

from esnb.aggregate.bytecode import blind_spots, raises, reads_identity
from esnb.aggregate.event import Event
from esnb.aggregate.expressions import (
    CURRENT,
    Expression,
    NotTraced,
    Raised,
    is_none,
    known,
    truth,
)
from esnb.aggregate.kinds import Kind
from esnb.aggregate.proxies import Change, Payload, Proxy, State

__all__ = ["Change", "Leaf", "Node", "Tree", "Way", "leaves", "trace", "trace_condition"]

MAX_LEAVES = 256
MAX_DEPTH = 64

_OWN = os.path.dirname(__file__)


@dataclass(frozen=True, eq=False)
class Leaf:
    """The end of one way through a handler.

    Attributes
    ----------
    values
        Fields that are set, and to what.
    changes
        Collections that are changed, step by step.
    breach
        The rule that the handler says the event breaks.
    raised
        What it raises on this way.
    answer
        What a condition answers on this way (see `trace_condition`).
    """

    values: Mapping[str, Expression]
    changes: Mapping[str, tuple[Change, ...]]
    breach: str | None = None
    raised: str | None = None
    answer: bool = False


@dataclass(frozen=True, eq=False)
class Node:
    """A fork: a condition, and what comes after it if it holds and if not."""

    condition: Expression
    yes: Tree
    no: Tree


Tree = Leaf | Node
Way = tuple[tuple[Expression, bool], ...]


def leaves(tree: Tree, way: Way = ()) -> Iterator[tuple[Way, Leaf]]:
    """Yield each way through a tree: the conditions with their answers, and its leaf."""
    if isinstance(tree, Leaf):
        yield way, tree
    else:
        yield from leaves(tree.yes, (*way, (tree.condition, True)))
        yield from leaves(tree.no, (*way, (tree.condition, False)))


def trace(
    owner: type,
    handler: FunctionType,
    event: type[Event],
    fields: Mapping[str, Kind],
) -> Tree:
    """Run `handler` on every way through it.

    Parameters
    ----------
    owner
        The aggregate class, for its helper methods and constants.
    handler
        The function, of the aggregate and the event.
    event
        Class of the event.
    fields
        The fields of the state.

    Raises
    ------
    NotTraced
        Naming line and construct that tracing cannot see through.
    """
    return _traced(owner, handler, event, fields)


def trace_condition(owner: type, condition: FunctionType, fields: Mapping[str, Kind]) -> Tree:
    """Run a condition, a function of the aggregate, on every way through it.

    Raises
    ------
    NotTraced
        Naming line and construct that tracing cannot see through.
    """
    return _traced(owner, condition, None, fields)


def _traced(
    owner: type, function: FunctionType, event: type[Event] | None, fields: Mapping[str, Kind]
) -> Tree:
    try:
        return _Tracing(owner, function, event, fields, eager=False).tree()
    except _NeedsIdentity:
        return _Tracing(owner, function, event, fields, eager=True).tree()


class _NeedsIdentity(NotTraced):
    """The handler asks `is None`: what may be None has to be decided when it is read."""


class _Tracing:
    def __init__(
        self,
        owner: type,
        handler: FunctionType,
        event: type[Event] | None,
        fields: Mapping[str, Kind],
        *,
        eager: bool,
    ) -> None:
        self.owner = owner
        self.handler = handler
        self.event = event
        self.fields = dict(fields)
        self.eager = eager
        description = getattr(owner, "description", None)
        self.keyed = description is not None and description.by is not None
        self.count = 0
        self._seen: set[CodeType] = set()

    def tree(self) -> Tree:
        self.look(self.handler.__code__)
        return self._explore([])

    def _explore(self, answers: list[bool]) -> Tree:
        self.count += 1
        if self.count > MAX_LEAVES:
            raise NotTraced(f"{self.handler.__qualname__} has more than {MAX_LEAVES} ways through")
        run = _Run(self, answers)
        tree: Tree = run.leaf()
        for place in reversed(range(len(answers), len(run.asked))):
            condition, _ = run.asked[place]
            other = self._explore([answer for _, answer in run.asked[:place]] + [False])
            tree = Node(condition, tree, other)
        return tree

    def look(self, code: CodeType) -> None:
        """Refuse code that does what tracing cannot see."""
        if code in self._seen:
            return
        found = blind_spots(code)
        if found is not None:
            raise NotTraced(f"{found[1]}, line {found[0]} of {code.co_qualname}")
        identity = reads_identity(code)
        if identity is not None:
            line, with_none = identity
            if not with_none:
                raise NotTraced(f"'is' other than with None, line {line} of {code.co_qualname}")
            if not self.eager:
                raise _NeedsIdentity("is None")
        self._seen.add(code)


class _Run:
    """One way through a handler."""

    def __init__(self, tracing: _Tracing, answers: list[bool]) -> None:
        self.tracing = tracing
        self.owner = tracing.owner
        self.fields = tracing.fields
        self.keyed = tracing.keyed
        self.answers = answers
        self.asked: list[tuple[Expression, bool]] = []
        self._known: dict[Any, bool] = {}
        self._equal: dict[Any, Any] = {}
        self.values: dict[str, Expression] = {}
        self.changes: dict[str, list[Change]] = {}
        self.breach: str | None = None
        self._unseen: NotTraced | None = None

    def leaf(self) -> Leaf:
        given: list[Proxy] = [State(self)]
        if self.tracing.event is not None:
            given.append(Payload(self, self.tracing.event, ()))
        token = CURRENT.set(self.ask)
        raised, answer = None, False
        try:
            with _watching(self._enter):
                result = self.tracing.handler(*given)
                # A handler gives nothing back; a condition gives its answer.
                answer = self.tracing.event is None and truth(result)
        except NotTraced as reason:
            raise self._placed(reason) from None
        except RecursionError:
            raise NotTraced(f"{self.tracing.handler.__qualname__} calls itself too deep") from None
        except Exception as error:
            if not isinstance(error, Raised) and not raises(error):
                # Something was called with a stand-in and did not know what to do with it.
                unknown = NotTraced(f"{type(error).__name__}: {error}")
                raise self._placed(unknown.with_traceback(error.__traceback__)) from None
            if self._unseen is None:
                raised = f"{type(error).__name__}: {error}"
        finally:
            CURRENT.reset(token)
        if self._unseen is not None:
            raise self._unseen
        return Leaf(
            self.values,
            {name: tuple(changes) for name, changes in self.changes.items()},
            self.breach,
            raised,
            answer,
        )

    def _placed(self, reason: NotTraced) -> NotTraced:
        if "line " in str(reason) or isinstance(reason, _NeedsIdentity):
            return reason
        line, trace = None, reason.__traceback__
        code = self.tracing.handler.__code__
        while trace is not None:
            if trace.tb_frame.f_code is code:
                line = trace.tb_lineno
            trace = trace.tb_next
        if line is None:
            return reason
        return NotTraced(f"{reason}, line {line} of {code.co_qualname}")

    def ask(self, condition: Expression) -> bool:
        """Answer a condition on this way."""
        found = self._known.get(condition.key)
        if found is None:
            found = self._implied(condition)
        if found is not None:
            return found
        place = len(self.asked)
        if place >= MAX_DEPTH:
            raise NotTraced(f"{self.tracing.handler.__qualname__} asks more than {MAX_DEPTH} times")
        answer = self.answers[place] if place < len(self.answers) else True
        self.asked.append((condition, answer))
        self._known[condition.key] = answer
        if answer and condition.op in ("=", "=?") and condition.args[1].op == "literal":
            self._equal[condition.args[0].key] = condition.args[1].args[0]
        return answer

    def _implied(self, condition: Expression) -> bool | None:
        """Answer what follows from a value being equal to a constant: it is no other, nor None."""
        value = condition.args[0] if condition.args else None
        if not isinstance(value, Expression) or value.key not in self._equal:
            return None
        if condition.op == "is_none":
            return False
        if condition.op in ("=", "=?") and condition.args[1].op == "literal":
            return bool(self._equal[value.key] == condition.args[1].args[0])
        return None

    def give(self, value: Expression) -> Any:
        """Return a value that is read; decided first, where `is None` is asked of it."""
        if self.tracing.eager and value.kind.nullable:
            return None if is_none(value) else known(value)
        return value

    def _enter(self, frame: FrameType) -> None:
        code = frame.f_code
        if code.co_filename.startswith(_OWN) or code in self.tracing._seen:
            return
        if any(isinstance(value, Expression | Proxy) for value in frame.f_locals.values()):
            try:
                self.tracing.look(code)
            except NotTraced as reason:
                self._unseen = self._unseen or reason


@contextmanager
def _watching(enter: Callable[[FrameType], None]) -> Iterator[None]:
    """Let `enter` see each function of Python that is called."""

    def profile(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            enter(frame)

    before = sys.getprofile()
    if before is not None and not callable(before):
        # A profiler written in C, which could not be set again: leave it be.  `check` still
        # compares what SQL gives with what Python gives.
        yield
        return
    sys.setprofile(profile)
    try:
        yield
    finally:
        sys.setprofile(before)
