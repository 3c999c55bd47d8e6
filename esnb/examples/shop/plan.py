"""Seven months in the life of the shop, September 2025 to March 2026, as steps.

What is in it, for those who look:

- orders from the basket to the door; payments that fail and are tried again; cancellations,
  refunds, returned parcels, changed addresses, and baskets that nobody pays for;
- two clocks: what the shop does itself is recorded within seconds, bank transfers and deliveries
  hours or days after they happened, a few deliveries weeks after;
- ties: an order and its first item, a confirmation and its payment, share an instant;
- goods that run short before Christmas, and slips of people, which rules refuse;
- totals corrected by the accounts, some of them by somebody who should not, and more that an
  audit should find: `esnb.examples.shop.planted` lists it;
- from 2026 on new versions of two events.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from esnb.examples.shop import commands as c
from esnb.examples.shop.catalogue import Catalogue
from esnb.examples.shop.planted import KINDS
from esnb.examples.shop.steps import Step
from esnb.examples.shop.world import (
    CARRIERS,
    CITIES,
    CLERKS,
    CULPRIT,
    DAY,
    END,
    FRIENDS,
    HOUR,
    HOURS,
    MINUTE,
    NEW_YEAR,
    START,
    office_hours,
    rush,
)

__all__ = ["Plan"]

_SECOND = timedelta(seconds=1)
Item = dict[str, Any]


class Plan(Catalogue):
    """Plans what everybody is going to do (see `Catalogue` for the parameters)."""

    def __init__(self, orders: int, seed: int) -> None:
        super().__init__(orders, seed)
        self._refunds = 0

    def windows(self, window: timedelta) -> Iterator[datetime]:
        """Plan everything; yield the ends of windows of time, as soon as nothing will be planned
        any more for the time before."""
        self.products()
        self.people()
        placed = self._placed()
        number = 0
        until = min(START, self.next or START)
        while number < len(placed) or self.next is not None:
            nearest = [at for at in (self.next, *placed[number : number + 1]) if at is not None]
            until = max(until, min(nearest)) + window
            while number < len(placed) and placed[number] < until:
                number += 1
                self._order(number, placed[number - 1])
            yield until

    # --- orders ----------------------------------------------------------------------------

    def _order(self, number: int, placed: datetime) -> None:
        own: dict[str, Any] = {"order_id": str(number)}
        customer = self.random.choice(FRIENDS) if number % 61 == 0 else self._customer()
        actor = f"customer:{customer}"
        items = [self._item()]
        city, zipcode = self.random.choice(CITIES)
        about: dict[str, Any] = {"currency": "CHF" if city == "Zürich" else "EUR"}
        if placed >= NEW_YEAR:
            about["channel"] = self.random.choice(["web", "web", "app", "app", "phone"])
        recorded = placed + self.between(timedelta(0), 2 * _SECOND)
        first = last = self.plan(
            c.PlaceOrder,
            placed,
            actor=actor,
            sent=recorded,
            tags=(actor, f"product:{items[0]['sku']}"),
            customer=customer,
            city=city,
            zip=zipcode,
            **own,
            **items[0],
            **about,
        )
        at = placed
        for more in range(self.random.choice([0, 0, 1, 1, 2, 3])):
            items = [*items, self._item()]
            # The first comes with the order, in the same instant on both clocks.
            at = placed if more == 0 else at + self.between(MINUTE, 9 * MINUTE)
            last = self.plan(
                c.AddItem,
                at,
                actor=actor,
                sent=recorded if more == 0 else None,
                after=last,
                **own,
                **items[-1],
            )
        if len(items) > 1 and self.chance(0.15):
            at += self.between(MINUTE, 10 * MINUTE)
            last = self.plan(c.RemoveItem, at, actor=actor, after=last, sku=items[-1]["sku"], **own)
            items = items[:-1]
        self.slips.placed(last, number, items)
        if self.chance(0.14):
            city, zipcode = self.random.choice(CITIES)
            at += self.between(MINUTE, 20 * HOUR)
            last = self.plan(
                c.ChangeAddress, at, actor=actor, after=last, city=city, zip=zipcode, **own
            )
        if self.chance(0.04):
            return  # a basket left behind
        if self.chance(0.05):
            self._cancel(last, number, at + self.between(10 * MINUTE, 2 * DAY), actor)
            return
        bought = Bought(number, customer, items, about["currency"], city)
        self._pay(first, last, at, bought)

    def _pay(self, first: Step, last: Step, at: datetime, bought: Bought) -> None:
        number, total = bought.number, bought.total
        own: dict[str, Any] = {"order_id": str(number)}
        payment: dict[str, Any] = {"payment_id": str(number)}
        at += self.between(5 * MINUTE, 6 * HOUR)
        confirmed = self.plan(
            c.ConfirmOrder,
            at,
            actor=self.random.choice(CLERKS) if self.chance(0.3) else "checkout",
            after=last,
            **own,
        )
        bought.confirmed_by = confirmed.actor
        self.slips.confirmed(confirmed, number, total)
        last, moment = confirmed, confirmed.at
        method = self.random.choice(["card", "card", "card", "paypal", "transfer"])
        asked = self.beside(
            c.RequestPayment,
            at,
            actor="checkout",
            sent=moment,
            after=confirmed,
            order=f"order-{number}",
            amount=total,
            currency=bought.currency,
            method=method,
            **payment,
        )
        failed = False
        for _ in range(self.random.choice([0, 0, 0, 0, 0, 0, 0, 1, 1, 3])):
            why = self.random.choice(["card declined", "limit reached", "timed out"])
            self.beside(
                c.DeclinePayment, at, actor="bank", sent=moment, after=asked, why=why, **payment
            )
            last = self.plan(
                c.NoteFailure, at, actor="payments", sent=moment, after=last, failure=why, **own
            )
            failed = True
            at += self.between(2 * MINUTE, 20 * HOUR)
            moment = at
        if failed and self.chance(0.25):
            until = at + self.between(DAY, 5 * DAY)
            self._cancel(last, number, until, "payments", "not paid")
            return
        # The bank tells of transfers a working day late; all else is known at once, a
        # payment that works the first time in the very instant of the confirmation.
        if method == "transfer":
            happened = at + self.between(HOUR, 3 * DAY)
            moment = happened + self.between(6 * HOUR, 40 * HOUR)
            at = moment
        else:
            happened = at
        taken = self.beside(
            c.CapturePayment, happened, actor="bank", sent=moment, after=asked, **payment
        )
        last = self.plan(
            c.NotePayment,
            happened,
            actor="payments",
            sent=moment,
            after=last,
            paid=total,
            method=method,
            **own,
        )
        self.slips.paid(last, number, total)
        self._reserve(last, taken, bought)
        if bought.customer in FRIENDS and self.chance(0.7):
            self._quietly(last, at, number, total)
        elif self.chance(0.03):
            changed = total - Decimal(self.random.randrange(1, 500)) / 100
            if changed > 0:
                due = office_hours(at + self.between(DAY, 20 * DAY))
                self.plan(
                    c.CorrectTotal,
                    due,
                    actor=self.random.choice(CLERKS),
                    after=last,
                    total=changed,
                    note="price list of the day",
                    **own,
                )
        if self.chance(0.03):
            until = at + self.between(HOUR, DAY)
            cancelled = self._cancel(last, number, until, first.actor)
            for sku, quantity in bought.quantities.items():
                self.beside(
                    c.ReleaseStock,
                    cancelled.at + 2 * _SECOND,
                    actor="warehouse",
                    after=cancelled,
                    tags=(*cancelled.tags[:1], f"product:{sku}"),
                    product_id=sku,
                    order=f"order-{number}",
                    quantity=quantity,
                )
            self._refund(cancelled, bought, returned=False)
            return
        self._ship(last, at, bought)

    def _reserve(self, paid: Step, taken: Step, bought: Bought) -> None:
        for place, (sku, quantity) in enumerate(bought.quantities.items(), start=1):
            self.beside(
                c.ReserveStock,
                paid.at + place * timedelta(milliseconds=self.aside.randrange(40, 400)),
                actor="warehouse",
                after=taken,
                tags=(*paid.tags[:1], f"product:{sku}"),
                product_id=sku,
                order=f"order-{bought.number}",
                quantity=quantity,
            )

    def _ship(self, paid: Step, at: datetime, bought: Bought) -> None:
        number = bought.number
        own: dict[str, Any] = {"order_id": str(number)}
        parcel: dict[str, Any] = {"shipment_id": str(number)}
        at = office_hours(at + self.between(8 * HOUR, 4 * DAY))
        how: dict[str, Any] = {
            "carrier": self.random.choice(CARRIERS),
            "tracking": f"TR{self.random.randrange(10**8):08d}",
        }
        shipped = self.plan(c.ShipOrder, at, actor="warehouse", after=paid, **own, **how)
        sent = self.beside(
            c.SendParcel,
            at,
            actor="warehouse",
            sent=shipped.at,
            after=shipped,
            order=f"order-{number}",
            city=bought.city,
            **parcel,
            **how,
        )
        self.slips.shipped(shipped, number)
        if self.chance(0.02):
            return  # lost on the way
        at += self.between(DAY, 5 * DAY)
        # Carriers report at night; now and then one reports weeks later.
        reported = at + self.between(2 * HOUR, 14 * HOUR)
        if self.chance(0.04):
            reported += self.between(3 * DAY, 25 * DAY)
        self.beside(c.DeliverParcel, at, actor="carrier", sent=reported, after=sent, **parcel)
        delivered = self.plan(
            c.DeliverOrder, at, actor="carrier", sent=reported, after=shipped, **own
        )
        self.slips.delivered(delivered, number)
        if self.chance(0.05):
            self._refund(delivered, bought, returned=True)

    def _cancel(
        self, last: Step, number: int, at: datetime, actor: str, reason: str | None = None
    ) -> Step:
        why = self.random.choice(["changed mind", "too slow", "found cheaper", "ordered twice"])
        at = max(at, last.at + MINUTE)
        cancelled = self.plan(
            c.CancelOrder, at, actor=actor, after=last, order_id=str(number), reason=reason or why
        )
        self.slips.cancelled(cancelled, number)
        return cancelled

    def _refund(self, last: Step, bought: Bought, *, returned: bool) -> None:
        number = bought.number
        at = office_hours(last.at + self.between(DAY, 9 * DAY))
        clerk, kind = self._refunded_by(self.random.choice(CLERKS), bought, returned)
        if returned and kind != "refund without return":
            back = at - self.aside.randrange(1, 20) * HOUR
            self.beside(
                c.ReturnParcel,
                back,
                actor="carrier",
                sent=back + self.aside.randrange(5, 50) * MINUTE,
                after=last,
                shipment_id=str(number),
            )
        refunded = self.plan(
            c.IssueRefund,
            at,
            actor=clerk,
            after=last,
            order_id=str(number),
            amount=bought.total,
        )
        self.beside(
            c.RefundPayment,
            at,
            actor="bank",
            sent=refunded.at,
            after=refunded,
            payment_id=str(number),
            amount=bought.total,
        )
        self.slips.refunded(refunded, number, bought.total)
        if kind is not None:
            self.plant(kind, refunded)

    def _refunded_by(self, clerk: str, bought: Bought, returned: bool) -> tuple[str, KINDS | None]:
        """Return who refunds, and what is wrong about it: four eyes have to see an order."""
        if bought.confirmed_by == "j.alvarez":
            self._refunds += 1
            if self._refunds % 3 == 1:
                return "j.alvarez", "own refund"
        if bought.confirmed_by == clerk:
            clerk = CLERKS[(CLERKS.index(clerk) + 1) % len(CLERKS)]
        if returned and clerk == "t.okafor" and bought.number % 4 == 0:
            return clerk, "refund without return"
        return clerk, None

    def _quietly(self, paid: Step, at: datetime, number: int, total: Decimal) -> None:
        """Lower the total of a paid order at night: the money in between goes astray."""
        night = (at + self.between(2 * DAY, 12 * DAY)).replace(hour=23)
        less = total * self.random.randrange(35, 60) / 100
        corrected = self.plan(
            c.CorrectTotal,
            night,
            actor=CULPRIT,
            after=paid,
            order_id=str(number),
            total=less.quantize(Decimal("0.01")),
        )
        self.plant("quiet correction", corrected)

    def _customer(self) -> int:
        # A few buy often, most seldom.
        return 1 + int(self.customers * self.random.random() ** 1.7)

    def _item(self) -> Item:
        sku = self.random.choice(list(self.prices))
        quantity = self.random.choice([1, 1, 1, 2, 2, 4])
        return {"sku": sku, "quantity": quantity, "price": self.prices[sku]}

    def _placed(self) -> list[datetime]:
        """Return when orders are placed: more by day than at night, and most before Christmas."""
        days = [START + day * DAY for day in range((END - START).days)]
        found = []
        for day in self.random.choices(days, [rush(day) for day in days], k=self.orders):
            hour = self.random.choices(range(24), HOURS)[0]
            found.append(day + hour * HOUR + self.between(timedelta(0), HOUR))
        return sorted(found)


class Bought:
    """What the steps of one order have to know of it."""

    def __init__(
        self, number: int, customer: int, items: list[Item], currency: str, city: str
    ) -> None:
        self.number = number
        self.customer = customer
        self.currency = currency
        self.city = city
        self.confirmed_by: str | None = None
        worth = (item["quantity"] * item["price"] for item in items)
        self.total: Decimal = sum(worth, Decimal("0.00"))
        self.quantities: dict[str, int] = {}
        for item in items:
            self.quantities[item["sku"]] = self.quantities.get(item["sku"], 0) + item["quantity"]
