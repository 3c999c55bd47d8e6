"""Roles: which column, constant or callable of a source stands for which field of an event."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from esnb.errors import SourceError

__all__ = [
    "ROLES",
    "Call",
    "Column",
    "Constant",
    "Members",
    "Role",
    "Wants",
    "constant",
    "resolve",
    "wants",
]

ROLES = (
    "stream",
    "category",
    "event_type",
    "event_id",
    "occurred_on",
    "recorded_on",
    "order",
    "data",
    "metadata",
    "actor",
    "correlation_id",
    "causation_id",
    "tags",
    "schema_version",
)
# A text that names no column is a value here: there are few of them and they are often fixed.
_PLAIN = {"category", "event_type", "actor"}
_LISTS = {"data", "metadata", "tags"}


@dataclass(frozen=True)
class Column:
    """The value of a column."""

    name: str


@dataclass(frozen=True)
class Constant:
    """The same value for every event."""

    value: Any


@dataclass(frozen=True)
class Call:
    """What a function returns for the row, a mapping from column name to value."""

    function: Callable[[Mapping[str, Any]], Any]


@dataclass(frozen=True)
class Members:
    """Several columns: those named, or with ``names=None`` all but `without`."""

    names: tuple[str, ...] | None
    without: frozenset[str] = frozenset()

    def pick(self, columns: Sequence[str]) -> list[str]:
        """Return the columns meant, in the order of the source or as named."""
        if self.names is not None:
            return list(self.names)
        return [name for name in columns if name not in self.without]


Role = Column | Constant | Call | Members


@dataclass(frozen=True)
class Wants:
    """What the stage needs from a reader.

    Attributes
    ----------
    columns
        Columns that stand alone.
    members
        By role, the columns that become one JSON object.
    rows
        Whole rows as mappings are needed too, for callables.
    """

    columns: tuple[str, ...]
    members: Mapping[str, Members]
    rows: bool


def constant(value: Any) -> Constant:
    """Return a role that has the same value for every event.

    >>> constant("order")
    Constant(value='order')
    """
    return Constant(value)


def resolve(
    given: Mapping[str, Any],
    columns: Sequence[str],
    source: str,
) -> dict[str, Role]:
    """Turn what the caller said into roles; data is all that no other role uses.

    Parameters
    ----------
    given
        By role: a column name, a callable, a `Constant`, or (for data, metadata, tags) a
        list of columns.  None means the role is not given.
    columns
        The columns that the source has.
    source
        Its name, for errors.

    Raises
    ------
    SourceError
        If a column does not exist, with those of like name.
    """
    roles: dict[str, Role] = {}
    for name in ROLES:
        value = given.get(name)
        if value is not None:
            roles[name] = _role(name, value, columns, source)
    for name in ("occurred_on", "event_type", "stream"):
        if name not in roles:
            raise SourceError(_missing(roles, columns, source))
    if "data" not in roles:
        roles["data"] = Members(None, frozenset(_used(roles)))
    _check_category(roles)
    return roles


def wants(roles: Mapping[str, Role]) -> Wants:
    """Return what a reader must deliver for `roles`."""
    columns = [role.name for role in roles.values() if isinstance(role, Column)]
    tags = roles.get("tags")
    if isinstance(tags, Members) and tags.names:
        columns += tags.names
    members = {
        name: role
        for name, role in roles.items()
        if isinstance(role, Members) and name in ("data", "metadata")
    }
    calls = any(isinstance(role, Call) for role in roles.values())
    return Wants(tuple(dict.fromkeys(columns)), members, calls)


def described(roles: Mapping[str, Role]) -> dict[str, str]:
    """Return the roles as text, for the record."""
    result = {}
    for name, role in roles.items():
        if isinstance(role, Column):
            result[name] = role.name
        elif isinstance(role, Constant):
            result[name] = f"constant({role.value!r})"
        elif isinstance(role, Call):
            result[name] = getattr(role.function, "__qualname__", repr(role.function))
        else:
            result[name] = "all other columns" if role.names is None else ", ".join(role.names)
    return result


def _role(name: str, value: Any, columns: Sequence[str], source: str) -> Role:
    if isinstance(value, Column | Constant | Members):
        return value
    if isinstance(value, str):
        if value in columns:
            return Column(value)
        if name in _PLAIN and not _looks_like_one(value, columns):
            return Constant(value)
        raise SourceError(_unknown(name, value, columns, source))
    if callable(value):
        return Call(value)
    if isinstance(value, list | tuple) and name in _LISTS:
        for item in value:
            if item not in columns:
                raise SourceError(_unknown(name, item, columns, source))
        return Members(tuple(value))
    if name == "schema_version" and isinstance(value, int):
        return Constant(value)
    raise SourceError(
        f"{name}={value!r} is no role: say a column name, a function of the row, "
        "or esnb.source.constant(value)" + (", or a list of columns" if name in _LISTS else "")
    )


def _looks_like_one(value: str, columns: Sequence[str]) -> bool:
    """Whether a text is rather a column with a slip in it than a fixed value."""
    lower = [column.lower() for column in columns]
    return bool(difflib.get_close_matches(value.lower(), lower, 1, 0.9))


def _used(roles: Mapping[str, Role]) -> Iterator[str]:
    for role in roles.values():
        if isinstance(role, Column):
            yield role.name
        elif isinstance(role, Members) and role.names:
            yield from role.names


def _check_category(roles: Mapping[str, Role]) -> None:
    category = roles.get("category")
    if isinstance(category, Constant) and (
        not isinstance(category.value, str) or not category.value or "-" in category.value
    ):
        raise SourceError(
            f"category {category.value!r} must be text without '-': a stream is called "
            "category-id, and its category ends at the first '-'"
        )


def _unknown(role: str, name: object, columns: Sequence[str], source: str) -> str:
    near = difflib.get_close_matches(str(name), columns, 3, 0.5)
    lower = [column for column in columns if column.lower() == str(name).lower()]
    near = list(dict.fromkeys([*lower, *near]))
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    if role in _PLAIN and near:
        hint += f" (For the fixed value say esnb.source.constant({name!r}).)"
    return f"{source} has no column {name!r} (for {role}).{hint} {_listed(columns)}"


def _missing(roles: Mapping[str, Role], columns: Sequence[str], source: str) -> str:
    lacking = [name for name in ("stream", "event_type", "occurred_on") if name not in roles]
    example = ", ".join(
        f"{name}={value!r}"
        for name, value in (
            ("category", "order"),
            ("stream", columns[0] if columns else "order_id"),
            ("event_type", columns[1] if len(columns) > 1 else "status"),
            ("occurred_on", columns[2] if len(columns) > 2 else "time"),
        )
    )
    return (
        f"{source}: say which column is {' and '.join(lacking)}. {_listed(columns)} "
        f"For example: esnb.import_events(source, log, {example})"
    )


def _listed(columns: Sequence[str]) -> str:
    shown = ", ".join(map(repr, columns[:60]))
    more = f" and {len(columns) - 60} more" if len(columns) > 60 else ""
    return f"Its columns are {shown}{more}."
