"""What an audit of the shop should find, because it was planted there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["KINDS", "Planted"]

KINDS = Literal["quiet correction", "own refund", "refund without return", "late count"]


@dataclass(frozen=True)
class Planted:
    """One event that should not have been.

    Attributes
    ----------
    kind
        ``"quiet correction"``: r.voss lowers the total of a paid order of customer 113 or 271, at
        night and without a note (a breach of `AuditedOrder`).
        ``"own refund"``: j.alvarez refunds an order that he confirmed himself (another one).
        ``"refund without return"``: t.okafor refunds a delivered order of which no parcel came
        back; to be seen only where orders and shipments are looked at together.
        ``"late count"``: m.sato types in a count weeks after it is said to have been made, and 17
        pieces are missing (a breach of `AuditedProduct`).
    stream, event_id, actor
        Of the event.
    """

    kind: KINDS
    stream: str
    event_id: str
    actor: str
