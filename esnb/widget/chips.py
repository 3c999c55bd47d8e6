"""The bar of a session: what narrows the view, each part with a button that takes it back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import duckdb
import pyarrow as pa

from esnb.duck import connect
from esnb.widget.base.piece import Piece, intent
from esnb.widget.base.session import Session

__all__ = ["Chips"]


class Chips(Piece):
    """What a session narrows its view by.

    Parameters
    ----------
    session
        The session.
    """

    name = "chips"
    follows = ("window", "as_of", "valid_at", "event_types", "streams", "event_id")

    def __init__(self, session: Session, **options: Any) -> None:
        self._of = session
        super().__init__(session=session, **options)

    @intent
    def ask_chips(self) -> Mapping[str, Any]:
        """Return what narrows the view."""
        return {"chips": self._of.chips(), "zone": self._of.zone}

    @intent
    def ask_clear(self, trait: str | None = None) -> Mapping[str, Any]:
        """Take back one part, or all."""
        self._of.clear(*([trait] if trait in self.follows else []))
        return {}

    def data(self) -> duckdb.DuckDBPyRelation:
        """Return one row for each part: ``trait`` and ``words``."""
        chips = self._of.chips()
        columns = {name: [chip[name] for chip in chips] for name in ("trait", "words")}
        table = pa.table({name: pa.array(column, pa.string()) for name, column in columns.items()})
        return connect().from_arrow(table)

    @property
    def code(self) -> str:
        """The call that makes the session anew."""
        return self._of.code
