"""What tests of aggregates and of sagas expect alike, and how a difference is told."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from esnb.errors import CommandError

__all__ = ["ABSENT", "State", "diff", "differing", "listed", "state"]

ABSENT = object()
_KEY = "  (- expected, + happened)"


@dataclass(frozen=True)
class State:
    """What `state` expects."""

    fields: dict[str, object]


def state(**fields: object) -> State:
    """Expect fields afterwards, others aside.

    Of an aggregate ``ended`` too; of a saga ``status``, ``step``, ``waiting``, ``deadline``,
    ``tries`` and ``error``, as `esnb.write.SagaRunner.status` has them.
    """
    return State(fields)


def differing(expected: State, found: Mapping[str, Any], owner: str) -> list[str]:
    """Return lines about the fields that are others than expected; none if all are as they are.

    Raises
    ------
    CommandError
        If there is no such field.
    """
    lines = []
    for name, value in expected.fields.items():
        if name not in found:
            raise CommandError(f"{owner} has no field {name!r}; there are {', '.join(found)}")
        if found[name] != value:
            lines += [f"  - {name} = {value!r}", f"  + {name} = {found[name]!r}"]
    return [_KEY, *lines] if lines else []


def listed(things: Iterable[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """Return a line for each thing, of its name and its fields as JSON has them."""
    return [f"  {name} {json.dumps(fields, ensure_ascii=False)}" for name, fields in things] or [
        "  nothing"
    ]


def diff(expected: Sequence[str], happened: Sequence[str]) -> list[str]:
    """Return the difference of two lists of lines."""
    return [_KEY, *(f"  {line}" for line in difflib.ndiff(expected, happened))]
