"""Values that cannot change, down to the last leaf."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, Mapping
from typing import Any

__all__ = ["FrozenDict"]


class FrozenDict(Mapping[str, Any]):
    """A mapping that cannot change; it hashes, pickles and equals a ``dict`` of the same items."""

    __slots__ = ("_hash", "_items")

    _items: dict[str, Any]
    _hash: int | None

    def __init__(self, items: Mapping[str, Any] | tuple[tuple[str, Any], ...] = ()) -> None:
        object.__setattr__(self, "_items", dict(items))
        object.__setattr__(self, "_hash", None)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a FrozenDict cannot change; build a new one")

    def __delattr__(self, name: str) -> None:
        raise AttributeError("a FrozenDict cannot change; build a new one")

    def __getitem__(self, key: str) -> Any:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    # As `Mapping` has them, in a fraction of the time.

    def __contains__(self, key: object) -> bool:
        return key in self._items

    def items(self) -> ItemsView[str, Any]:
        """Return a view of keys and values."""
        return self._items.items()

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a key, or `default` if there is none."""
        return self._items.get(key, default)

    def __hash__(self) -> int:
        if self._hash is None:
            object.__setattr__(self, "_hash", hash(frozenset(self._items.items())))
        return hash(self._hash)

    def __reduce__(self) -> tuple[object, ...]:
        return (FrozenDict, (tuple(self._items.items()),))

    def __repr__(self) -> str:
        return repr(self._items)
