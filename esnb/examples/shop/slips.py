"""Slips of people and services, each of which a rule refuses: they leave no event behind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

from esnb.examples.shop import commands as c
from esnb.examples.shop.steps import Step, Steps
from esnb.write import Command

__all__ = ["Slips"]

_SECOND = timedelta(seconds=1)
# Of so many that come by one slips.
_OFTEN, _SELDOM = 25, 6

Slip = tuple[type[Command], dict[str, Any]]


class Slips:
    """Adds slips to a plan: one after the other of those that fit the moment."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._seen: Counter[str] = Counter()

    def _slip(
        self,
        moment: str,
        after: Step,
        every: int,
        *slips: Callable[[], Slip],
        later: timedelta = _SECOND,
    ) -> None:
        seen = self._seen[moment]
        self._seen[moment] += 1
        if seen % every:
            return
        command, fields = slips[seen // every % len(slips)]()
        self._steps.beside(
            command, after.at + later, actor=after.actor, after=after, slip=True, **fields
        )

    def listed(self, listed: Step, name: str) -> None:
        """Somebody takes from an empty shelf."""
        of: dict[str, Any] = {"product_id": name}
        self._slip(
            "listed", listed, 1,
            lambda: (c.ReserveStock, {"order": "order-0", "quantity": 1, **of}),
            lambda: (c.ReleaseStock, {"order": "order-0", "quantity": 1, **of}),
            lambda: (c.CountStock, {"missing": 1, **of}),
        )  # fmt: skip

    def retired(self, retired: Step, name: str) -> None:
        """The price of a product changes that is sold no more."""
        self._slip(
            "retired", retired, 1,
            lambda: (c.ChangePrice, {"product_id": name, "price": Decimal("0.99")}),
        )  # fmt: skip

    def risen(self, risen: Step, number: int) -> None:
        """A customer rises to where he is."""
        self._slip(
            "risen", risen, _SELDOM,
            lambda: (c.ChangeTier, {"customer_id": number, "tier": "gold"}),
        )  # fmt: skip

    def placed(self, last: Step, number: int, items: list[dict[str, Any]]) -> None:
        """A browser sends twice, or somebody takes out what is not there."""
        of = {"order_id": str(number)}
        again = {"customer": 1, "currency": "EUR", "city": "Kiel", "zip": "24103", **items[0]}
        self._slip(
            "placed", last, _OFTEN,
            lambda: (c.PlaceOrder, {**again, **of}),
            lambda: (c.RemoveItem, {"sku": "piano-1", **of}),
            lambda: (c.CorrectTotal, {"total": Decimal("1.00"), "note": "too early", **of}),
        )  # fmt: skip
        if len(items) == 1:
            self._slip(
                "alone", last, _OFTEN, lambda: (c.RemoveItem, {"sku": items[0]["sku"], **of})
            )

    def confirmed(self, confirmed: Step, number: int, total: Decimal) -> None:
        """Somebody confirms twice, adds too late, or the bank names another sum."""
        of = {"order_id": str(number)}
        self._slip(
            "confirmed", confirmed, _OFTEN,
            lambda: (c.ConfirmOrder, of),
            lambda: (c.AddItem, {"sku": "lamp-1", "quantity": 1, "price": Decimal("9.90"), **of}),
            lambda: (c.NotePayment, {"paid": total + 1, "method": "card", **of}),
            # In the very instant, before anything is paid.
            later=timedelta(0),
        )  # fmt: skip

    def paid(self, paid: Step, number: int, total: Decimal) -> None:
        """The bank tells twice, or something else; a refund comes too early."""
        of, payment = {"order_id": str(number)}, {"payment_id": str(number)}
        self._slip(
            "paid", paid, _OFTEN,
            lambda: (c.NotePayment, {"paid": total, "method": "card", **of}),
            lambda: (c.CapturePayment, payment),
            lambda: (c.DeclinePayment, {"why": "timed out", **payment}),
            lambda: (c.AbandonPayment, payment),
            lambda: (c.NoteFailure, {"failure": "timed out", **of}),
            lambda: (c.IssueRefund, {"amount": total, **of}),
        )  # fmt: skip

    def shipped(self, shipped: Step, number: int) -> None:
        """It is too late for something."""
        of, parcel = {"order_id": str(number)}, {"shipment_id": str(number)}
        how = {"carrier": "Post", "tracking": "TR0"}
        self._slip(
            "shipped", shipped, _OFTEN,
            lambda: (c.ChangeAddress, {"city": "Kiel", "zip": "24103", **of}),
            lambda: (c.CancelOrder, {"reason": "too slow", **of}),
            lambda: (c.ShipOrder, {**of, **how}),
            lambda: (c.SendParcel, {"order": f"order-{number}", "city": "Kiel", **parcel, **how}),
            lambda: (c.ReturnParcel, parcel),
        )  # fmt: skip

    def delivered(self, delivered: Step, number: int) -> None:
        """A carrier delivers twice, or a clerk gives away more than came in."""
        of, parcel = {"order_id": str(number)}, {"shipment_id": str(number)}
        self._slip(
            "delivered", delivered, _OFTEN,
            lambda: (c.DeliverOrder, of),
            lambda: (c.DeliverParcel, parcel),
            lambda: (c.IssueRefund, {"amount": Decimal("99999.00"), **of}),
        )  # fmt: skip

    def cancelled(self, cancelled: Step, number: int) -> None:
        """Somebody cancels twice."""
        self._slip(
            "cancelled", cancelled, _SELDOM,
            lambda: (c.CancelOrder, {"order_id": str(number), "reason": "ordered twice"}),
        )  # fmt: skip

    def refunded(self, refunded: Step, number: int, total: Decimal) -> None:
        """Money goes back twice."""
        self._slip(
            "refunded", refunded, _SELDOM,
            lambda: (c.RefundPayment, {"payment_id": str(number), "amount": total}),
            lambda: (c.IssueRefund, {"order_id": str(number), "amount": total}),
        )  # fmt: skip
