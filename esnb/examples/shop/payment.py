"""Payments: one for each confirmed order, asked for by the shop and answered by a bank."""

from __future__ import annotations

from decimal import Decimal

from esnb.aggregate import Aggregate
from esnb.errors import CommandRejected
from esnb.examples.shop.commands import (
    AbandonPayment,
    CapturePayment,
    DeclinePayment,
    RefundPayment,
    RequestPayment,
)
from esnb.examples.shop.events import (
    PaymentAbandoned,
    PaymentCaptured,
    PaymentDeclined,
    PaymentRefunded,
    PaymentRequested,
    PaymentRequestedInCents,
)
from esnb.write import handles

__all__ = ["CentPayment", "Payment"]


class Payment(Aggregate):
    """The payment of an order."""

    status: str = "new"
    order: str = ""
    method: str | None = None
    currency: str | None = None
    amount: Decimal = Decimal(0)
    captured: Decimal = Decimal(0)
    refunded: Decimal = Decimal(0)
    declined: int = 0

    def when_requested(self, e: PaymentRequested) -> None:
        self.status = "requested"
        self.order = e.order
        self.method = e.method
        self.currency = e.currency
        self.amount = e.amount

    def when_declined(self, e: PaymentDeclined) -> None:
        self.status = "declined"
        self.declined += 1

    def when_abandoned(self, e: PaymentAbandoned) -> None:
        self.status = "abandoned"

    def when_captured(self, e: PaymentCaptured) -> None:
        self.status = "captured"
        self.captured += e.captured

    def when_refunded(self, e: PaymentRefunded) -> None:
        self.status = "refunded"
        self.refunded += e.refunded

    @handles(RequestPayment, creates=True)
    def request(self, command: RequestPayment) -> PaymentRequested | PaymentRequestedInCents:
        return PaymentRequested(
            order=command.order,
            amount=command.amount,
            currency=command.currency,
            method=command.method,
        )

    @handles(DeclinePayment)
    def decline(self, command: DeclinePayment) -> PaymentDeclined:
        if self.status not in ("requested", "declined"):
            raise CommandRejected("only an open payment is declined", status=self.status)
        return PaymentDeclined(order=self.order, why=command.why)

    @handles(AbandonPayment)
    def abandon(self, command: AbandonPayment) -> PaymentAbandoned:
        if self.status not in ("requested", "declined"):
            raise CommandRejected("only an open payment is abandoned", status=self.status)
        return PaymentAbandoned(order=self.order)

    @handles(CapturePayment)
    def capture(self, command: CapturePayment) -> PaymentCaptured:
        # A card that was declined is tried again.
        if self.status not in ("requested", "declined"):
            raise CommandRejected("only an open payment is captured, and once", status=self.status)
        return PaymentCaptured(order=self.order, captured=self.amount)

    @handles(RefundPayment)
    def refund(self, command: RefundPayment) -> PaymentRefunded:
        if command.amount > self.captured - self.refunded:
            raise CommandRejected(
                "no more goes back than was captured", amount=command.amount, captured=self.captured
            )
        return PaymentRefunded(order=self.order, refunded=command.amount)


class CentPayment(Payment, category="payment"):
    """A payment of the shop as it was until the end of 2025, which counted in cents."""

    @handles(RequestPayment, creates=True)
    def request(self, command: RequestPayment) -> PaymentRequestedInCents:
        return PaymentRequestedInCents(
            order=command.order,
            cents=int(command.amount * 100),
            currency=command.currency,
            method=command.method,
        )
