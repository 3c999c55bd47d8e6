"""Cases: how long each took, and which of them a number stands for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypedDict, Unpack

import numpy as np
import pyarrow as pa

from esnb.errors import FlowError, shown
from esnb.flow.groups import distinct_in_groups
from esnb.flow.names import type_id
from esnb.flow.steps import Bools, Steps, instants_of
from esnb.flow.variants import Variants
from esnb.log.segment import stable_order

__all__ = ["Conditions", "Types", "activities", "chosen", "durations", "events", "listed"]

Types = str | Iterable[str]


def activities(steps: Steps) -> Any:
    """Return the event types and how often they occur.

    Returns
    -------
    pyarrow.Table
        ``event_type``, ``count``, ``cases``, ``starts``, ``ends``, ``first_seen``,
        ``last_seen``; by count from the highest, then by name.
    """
    types = len(steps.types)
    counts = np.bincount(steps.type_ids, minlength=types)
    there = np.flatnonzero(counts)
    order = stable_order(steps.type_ids.astype(np.int64))
    starts = (np.cumsum(counts) - counts)[there]
    at = steps.at[order]
    found = pa.table(
        {
            "event_type": pa.array(steps.types, pa.string()).take(pa.array(there)),
            "count": counts[there],
            "cases": distinct_in_groups(steps.case_numbers[order], starts),
            "starts": np.bincount(_starting(steps), minlength=types)[there],
            "ends": np.bincount(_ending(steps), minlength=types)[there],
            "first_seen": instants_of(np.minimum.reduceat(at, starts) if len(at) else at),
            "last_seen": instants_of(np.maximum.reduceat(at, starts) if len(at) else at),
        }
    )
    return found.take(pa.array(np.lexsort((there, -counts[there]))))


def durations(steps: Steps) -> Any:
    """Return the cases by name: when each began and ended, and what took how long.

    Returns
    -------
    pyarrow.Table
        ``case_id``, ``started``, ``ended``, ``duration`` (microseconds), ``events``,
        ``first_type``, ``last_type``.
    """
    started, ended = steps.at[steps.firsts[:-1]], steps.at[steps.firsts[1:] - 1]
    return pa.table(
        {
            "case_id": steps.names,
            "started": instants_of(started),
            "ended": instants_of(ended),
            "duration": ended - started,
            "events": steps.lengths,
            "first_type": _named(steps, _starting(steps)),
            "last_type": _named(steps, _ending(steps)),
        }
    )


def listed(steps: Steps, which: Bools) -> Any:
    """Return some cases by name: ``case_id``, ``started``, ``ended``, ``events``."""
    return (
        durations(steps).select(["case_id", "started", "ended", "events"]).filter(pa.array(which))
    )


def events(steps: Steps) -> Any:
    """Return all events.

    Returns
    -------
    pyarrow.Table
        ``case_id``, ``place`` (from 0), ``event_type``, ``time``, ``position``.
    """
    case = pa.DictionaryArray.from_arrays(pa.array(steps.case_numbers), steps.names)
    return pa.table(
        {
            "case_id": case,
            "place": steps.places,
            "event_type": _named(steps, steps.type_ids),
            "time": instants_of(steps.at),
            "position": steps.positions,
        }
    )


class Conditions(TypedDict, total=False):
    """What cases are chosen by; see `esnb.flow.flow.Flow.streams`."""

    edge: tuple[str | None, str | None] | None
    without_edge: tuple[str | None, str | None] | None
    variant: str | Iterable[str] | None
    with_: Types | None
    without: Types | None
    starting: Types | None
    ending: Types | None


def chosen(
    steps: Steps, variants: Callable[[], Variants], **conditions: Unpack[Conditions]
) -> Bools:
    """Return for each case whether all that is said holds for it.

    See `esnb.flow.flow.Flow.streams`.

    Raises
    ------
    FlowError
        If a type or a variant is not there, naming near ones.
    """
    for name in conditions:
        if name not in Conditions.__annotations__:
            known = ", ".join(Conditions.__annotations__)
            raise FlowError(f"there is no condition {shown(name)}; there are {known}")
    found = np.ones(steps.cases, np.bool_)
    edge, variant = conditions.get("edge"), conditions.get("variant")
    with_, without = conditions.get("with_"), conditions.get("without")
    without_edge = conditions.get("without_edge")
    if edge is not None:
        found &= _along(steps, edge)
    if without_edge is not None:
        found &= ~_along(steps, without_edge)
    if variant is not None:
        found &= _of_variant(steps, variants, variant)
    for name, types, ids in (
        ("starting", conditions.get("starting"), _starting),
        ("ending", conditions.get("ending"), _ending),
    ):
        if types is not None:
            found &= np.isin(ids(steps), _ids(steps, name, types))
    if with_ is not None:
        for number in _ids(steps, "with_", with_):
            found &= _with(steps, steps.type_ids == number)
    if without is not None:
        found &= ~_with(steps, np.isin(steps.type_ids, _ids(steps, "without", without)))
    return found


def _starting(steps: Steps) -> Any:
    return steps.type_ids[steps.firsts[:-1]]


def _ending(steps: Steps) -> Any:
    return steps.type_ids[steps.firsts[1:] - 1]


def _named(steps: Steps, ids: Any) -> Any:
    return pa.DictionaryArray.from_arrays(pa.array(ids), pa.array(steps.types, pa.string()))


def _with(steps: Steps, rows: Bools) -> Bools:
    """Return which cases have one of these rows."""
    if not len(rows):
        return np.zeros(0, np.bool_)
    found: Bools = np.logical_or.reduceat(rows, steps.firsts[:-1])
    return found


def _along(steps: Steps, edge: tuple[str | None, str | None]) -> Bools:
    if isinstance(edge, str) or not isinstance(edge, Iterable) or len(ends := tuple(edge)) != 2:
        raise FlowError(f"edge={shown(edge)}: say a pair of types, (from, to)")
    source, target = ends
    if source is None and target is None:
        raise FlowError("edge=(None, None): say from which type, or to which; None is start or end")
    if source is None:
        return np.isin(_starting(steps), type_id(steps, target))
    if target is None:
        return np.isin(_ending(steps), type_id(steps, source))
    rows = np.zeros(len(steps), np.bool_)
    followed = steps.followed
    rows[followed] = (steps.type_ids[followed] == type_id(steps, source)) & (
        steps.type_ids[followed + 1] == type_id(steps, target)
    )
    return _with(steps, rows)


def _of_variant(
    steps: Steps, variants: Callable[[], Variants], variant: str | Iterable[str]
) -> Bools:
    if isinstance(variant, str):
        same = variants().having(variant)
        if same is None:
            raise FlowError(
                f"no variant {shown(variant)} in this flow. Say the variant_id of one, or its types"
            )
        return same
    ids = np.array([type_id(steps, name) for name in variant], np.int32)
    found: Bools = steps.lengths == len(ids)
    if len(ids):
        for place, number in enumerate(ids):
            cases = np.flatnonzero(found)
            found[cases] = steps.type_ids[steps.firsts[cases] + place] == number
    return found


def _ids(steps: Steps, name: str, types: Types) -> list[int]:
    given = [types] if isinstance(types, str) else list(types)
    if not given:
        raise FlowError(f"{name}=[]: say a type, or several")
    return [type_id(steps, one) for one in given]
