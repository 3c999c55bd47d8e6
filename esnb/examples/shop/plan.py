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
from esnb.examples.shop.planted import KINDS, Planted
from esnb.examples.shop.slips import Slips
from esnb.examples.shop.steps import Step, Steps
from esnb.examples.shop.world import (
    CARRIERS,
    CITIES,
    CLERKS,
    CULPRIT,
    CUSTOMERS,
    DAY,
    END,
    FIRST_NAMES,
    FRIENDS,
    GOODS,
    HOUR,
    HOURS,
    LAST_NAMES,
    MINUTE,
    NEW_YEAR,
    ORDERS,
    START,
    office_hours,
    rush,
)

__all__ = ["Plan"]

_SECOND = timedelta(seconds=1)
Item = dict[str, Any]


class Plan(Steps):
    """What everybody is going to do.

    Parameters
    ----------
    orders
        How many orders; there are 900 customers for 4,000 of them.
    seed
        See `Steps`.

    Attributes
    ----------
    planted
        What an audit should find, as far as it is planned.
    """

    def __init__(self, orders: int, seed: int) -> None:
        super().__init__(seed)
        self._orders = orders
        self._customers = max(CUSTOMERS * orders // ORDERS, max(FRIENDS))
        self._prices: dict[str, Decimal] = {}
        self._slips = Slips(self)
        self.planted: list[Planted] = []
        self._refunds = 0

    def windows(self, window: timedelta) -> Iterator[datetime]:
        """Plan everything; yield the ends of windows of time, as soon as nothing will be planned
        any more for the time before."""
        self._products()
        self._people()
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

    # --- products and customers ------------------------------------------------------------

    def _products(self) -> None:
        for good in GOODS:
            for number in range(1, 7):
                name = f"{good}-{number}"
                price = Decimal(self.random.randrange(990, 24_990, 10)) / 100
                self._prices[name] = price
                at = START - self.between(DAY, 30 * DAY)
                listed = self.plan(
                    c.ListProduct, at, actor="catalogue", product_id=name, price=price
                )
                self._slips.listed(listed, name)
                self._supply(listed, name)
                at = START
                while (at := at + self.between(10 * DAY, 60 * DAY)) < END:
                    if self.chance(0.5):
                        share = Decimal(self.random.randrange(85, 116))
                        price = (price * share / 100).quantize(Decimal("0.01"))
                        self.plan(
                            c.ChangePrice,
                            at,
                            actor="catalogue",
                            after=listed,
                            product_id=name,
                            price=price,
                        )
                    else:
                        missing = self.random.randrange(0, 400) // 80
                        self._count(listed, name, at, missing)
                if self.chance(0.1):
                    at = END - self.between(DAY, 40 * DAY)
                    retired = self.plan(
                        c.RetireProduct, at, actor="catalogue", after=listed, product_id=name
                    )
                    self._slips.retired(retired, name)

    def _count(self, listed: Step, name: str, at: datetime, missing: int) -> None:
        # Counted by hand in the evening, typed in the next morning.
        clerk = self.random.choice(CLERKS)
        sent = at + self.between(10 * HOUR, 16 * HOUR)
        taken = clerk == "m.sato" and name.startswith(("clock", "lamp")) and sent < END - 30 * DAY
        if taken:
            # It was not that evening, and the goods are at home with somebody.
            sent, missing = sent + self.aside.randrange(18, 27) * DAY, 17
        counted = self.plan(
            c.CountStock,
            at,
            actor=clerk,
            sent=sent,
            after=listed,
            product_id=name,
            missing=missing,
        )
        if taken:
            self._plant("late count", counted)

    def _supply(self, listed: Step, name: str) -> None:
        """Let goods come every few weeks, about as many as are sold."""
        scale = max(1.0, self._orders / ORDERS)
        at = listed.at + HOUR
        while at < END:
            busy = 2 if (11, 10) <= (at.month, at.day) <= (12, 18) else 1
            quantity = int(self.aside.randrange(28, 52) * busy * scale)
            self.beside(
                c.DeliverStock,
                at,
                actor="warehouse",
                after=listed,
                product_id=name,
                quantity=quantity,
            )
            at = office_hours(at + self.aside.randrange(18, 27) * DAY)

    def _people(self) -> None:
        for number in range(1, self._customers + 1):
            tags, own = (f"customer:{number}",), {"customer_id": number}
            city, zipcode = self.random.choice(CITIES)
            name = f"{self.random.choice(FIRST_NAMES)} {self.random.choice(LAST_NAMES)}"
            at = START - self.between(DAY, 300 * DAY)
            known = self.plan(
                c.RegisterCustomer,
                at,
                actor=f"customer:{number}",
                tags=tags,
                name=name,
                city=city,
                zip=zipcode,
                **own,
            )
            if self.chance(0.18):
                city, zipcode = self.random.choice(CITIES)
                moved = START + self.between(DAY, 205 * DAY)
                # People tell a shop that they have moved when they order the next time.
                self.plan(
                    c.MoveCustomer,
                    moved,
                    actor=f"customer:{number}",
                    sent=moved + self.between(HOUR, 30 * DAY),
                    after=known,
                    city=city,
                    zip=zipcode,
                    **own,
                )
            if self.chance(0.12):
                at = START + self.between(30 * DAY, 200 * DAY)
                risen = self.plan(
                    c.ChangeTier, at, actor="loyalty", after=known, tier="gold", **own
                )
                self._slips.risen(risen, number)

    # --- orders ----------------------------------------------------------------------------

    def _order(self, number: int, placed: datetime) -> None:
        own = {"order_id": str(number)}
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
            last = self.plan(
                c.RemoveItem, at, actor=actor, after=last, sku=items[-1]["sku"], **own
            )
            items = items[:-1]
        self._slips.placed(last, number, items)
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
        own, payment = {"order_id": str(number)}, {"payment_id": str(number)}
        at += self.between(5 * MINUTE, 6 * HOUR)
        confirmed = self.plan(
            c.ConfirmOrder,
            at,
            actor=self.random.choice(CLERKS) if self.chance(0.3) else "checkout",
            after=last,
            **own,
        )
        bought.confirmed_by = confirmed.actor
        self._slips.confirmed(confirmed, number, total)
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
        self._slips.paid(last, number, total)
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
        own, parcel = {"order_id": str(number)}, {"shipment_id": str(number)}
        at = office_hours(at + self.between(8 * HOUR, 4 * DAY))
        how = {
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
        self._slips.shipped(shipped, number)
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
        self._slips.delivered(delivered, number)
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
        self._slips.cancelled(cancelled, number)
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
        self._slips.refunded(refunded, number, bought.total)
        if kind is not None:
            self._plant(kind, refunded)

    def _refunded_by(
        self, clerk: str, bought: Bought, returned: bool
    ) -> tuple[str, KINDS | None]:
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
        self._plant("quiet correction", corrected)

    def _plant(self, kind: KINDS, step: Step) -> None:
        category = "product" if isinstance(step.command, c.CountStock) else "order"
        stream = step.command.stream_in(category)
        self.planted.append(Planted(kind, stream, step.event_id, step.actor))

    def _customer(self) -> int:
        # A few buy often, most seldom.
        return 1 + int(self._customers * self.random.random() ** 1.7)

    def _item(self) -> Item:
        sku = self.random.choice(list(self._prices))
        quantity = self.random.choice([1, 1, 1, 2, 2, 4])
        return {"sku": sku, "quantity": quantity, "price": self._prices[sku]}

    def _placed(self) -> list[datetime]:
        """Return when orders are placed: more by day than at night, and most before Christmas."""
        days = [START + day * DAY for day in range((END - START).days)]
        found = []
        for day in self.random.choices(days, [rush(day) for day in days], k=self._orders):
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
