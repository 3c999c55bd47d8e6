"""States on the valid clock: what was true then, as far as it was known.

Nothing of it is stored.  The order is another one, (occurred_on, position), and
an event that comes late changes what is already past, so it is folded when asked.
"""

from __future__ import annotations

from esnb.timeline import merge
from esnb.timeline.fold import Fold, column, nested_value
from esnb.timeline.text import literals, pointer

__all__ = ["valid_sql"]

_CARRIED = ("stream", "revision", "position", "event_id", "event_type", "actor", "occurred_on")


def valid_sql(fold: Fold, when: str, known: str) -> str:
    """Return the SELECT of the states that were valid at an instant.

    Parameters
    ----------
    when
        SQL of the instant.
    known
        SQL over ``e`` (``position``, ``system_from``): the event was known.
    """
    extracts = "".join(f", {sql} AS {name}" for name, sql in fold.extracts)
    plain = [(i, field) for i, field in enumerate(fold.fields) if not field.nested]
    said = "".join(f", {field.said} AS said_{i}" for i, field in plain)
    folded = "".join(
        f",\n        {field.aggregated(f's.said_{i}', 's.turn')} AS state_{i}" for i, field in plain
    )
    if fold.nested:
        paths = literals(pointer(field.key) for field in fold.nested)
        said += f", CASE WHEN list_bool_or(json_exists(e.data, {paths})) THEN e.data END AS data"
        folded += f",\n        {_nested(fold)} AS nested"
    states = "".join(
        f",\n    {_state(fold, i)} AS {column(field)}" for i, field in enumerate(fold.fields)
    )
    carried = "".join(f"arg_max_null(s.{name}, s.turn) AS {name}, " for name in _CARRIED[1:])
    return f"""
WITH arrived AS (
    SELECT {", ".join(f"e.{name}" for name in _CARRIED)}, e.data,
        max(e.recorded_on) OVER (PARTITION BY e.stream ORDER BY e.position) AS system_from
    FROM events AS e WHERE {fold.where}
), turns AS (
    SELECT e.*,
        row_number() OVER o AS turn,
        lead(e.occurred_on) OVER o AS next_on
    FROM arrived AS e WHERE {known}
    WINDOW o AS (PARTITION BY e.stream ORDER BY e.occurred_on, e.position)
), lives AS (
    SELECT e.*, max(e.turn) FILTER ({fold.ended}) OVER (PARTITION BY e.stream) AS ended
    FROM turns AS e WHERE e.occurred_on <= {when}
), extracted AS (
    SELECT e.*{extracts} FROM lives AS e WHERE e.ended IS NULL OR e.turn > e.ended
), said AS (
    SELECT {", ".join(f"e.{name}" for name in _CARRIED)}, e.turn, e.next_on{said}
    FROM extracted AS e
), folded AS (
    SELECT s.stream, {carried}max(s.occurred_on) AS valid_from,
        arg_max_null(s.next_on, s.turn) AS valid_to{folded}
    FROM said AS s GROUP BY s.stream
)
SELECT {", ".join(f"f.{name}" for name in _CARRIED)}, f.valid_from, f.valid_to{states}
FROM folded AS f
ORDER BY f.stream
""".strip()  # noqa: S608 (identifiers quoted, constants made by `text`)


def _nested(fold: Fold) -> str:
    """Return SQL of the canonical texts of all nested fields of a group."""
    payloads = "list(s.data ORDER BY s.turn) FILTER (s.data IS NOT NULL)"
    if fold.mode == "snapshot":
        payloads = "[coalesce(arg_max_null(s.data, s.turn), '{}')]"
    keys = literals(field.key for field in fold.nested)
    return f"{merge.FUNCTION[fold.mode]}({payloads}, {keys})"


def _state(fold: Fold, i: int) -> str:
    field = fold.fields[i]
    if not field.nested:
        return f"f.state_{i}"
    return nested_value(field, f"f.nested[{fold.nested.index(field) + 1}]")
