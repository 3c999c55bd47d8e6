"""Make the sample log: seven months of an online shop, September 2025 to March 2026.

    python data/generate_shop.py [FOLDER]

Seeded: the same events with the same ids each time.  People, places and goods are
made up.  What is in it, for those who look:

- orders from the basket to the door; payments that fail and are tried again;
  cancellations, refunds, changed addresses, and baskets that nobody pays for;
- two clocks: the shop's own events are recorded within seconds, bank transfers and
  deliveries hours or days after they happened, a few deliveries weeks after;
- ties: an order and its first item, a confirmation and its payment, share an instant;
- totals corrected by the accounts, some of them by somebody who should not;
- from 2026 on `OrderPlaced` has schema version 2, which says the channel.

Every payload is a patch of the state: merged in order they give what is known.
"""

from __future__ import annotations

import shutil
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
from shop_recorder import Payload, Recorder

import esnb

ORDERS = 4_000
CUSTOMERS = 900
START = datetime(2025, 9, 1, tzinfo=UTC)
END = datetime(2026, 4, 1, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)

CITIES = [
    ("Berlin", "10115"), ("Hamburg", "20095"), ("München", "80331"), ("Köln", "50667"),
    ("Dresden", "01067"), ("Leipzig", "04103"), ("Bremen", "28195"), ("Kiel", "24103"),
    ("Wien", "1010"), ("Graz", "8010"), ("Zürich", "8001"), ("Łódź", "90-001"),
]  # fmt: skip
FIRST = [
    "Ada", "Bela", "Chloé", "Dana", "Emre", "Finn", "Grete", "Hugo", "Ines", "Jonas", "Kira",
    "Lars", "Mila", "Noor", "Olga", "Piotr", "Rosa", "Søren",
]  # fmt: skip
LAST = [
    "Adler", "Brandt", "Castro", "Demir", "Engel", "Falk", "Groß", "Huber", "Iwanow", "Jansen",
    "Keller", "Lindt", "Meyer", "Novak", "Otto", "Peters", "Roth", "Šimek",
]  # fmt: skip
GOODS = ["lamp", "chair", "desk", "shelf", "rug", "mirror", "clock", "vase", "stool", "blanket"]
CLERKS = ["a.lorenz", "j.alvarez", "t.okafor", "m.sato"]
# The story to be found: this clerk lowers the totals of paid orders of two customers, at night.
CULPRIT, FRIENDS = "r.voss", (113, 271)


class Shop(Recorder):
    """Everything that happens in the shop."""

    def __init__(self) -> None:
        super().__init__(seed=20_250_901)
        self.prices: dict[str, Decimal] = {}

    # --- products and customers ------------------------------------------------------------

    def products(self) -> None:
        for good in GOODS:
            for number in range(1, 7):
                name = f"{good}-{number}"
                stream = f"product-{name}"
                price = Decimal(self.random.randrange(990, 24_990, 10)) / 100
                self.prices[name] = price
                at = START - self.between(DAY, 30 * DAY)
                listed = self.event(
                    stream,
                    "ProductListed",
                    at,
                    {"name": name, "price": str(price), "currency": "EUR", "status": "on sale"},
                    actor="catalogue",
                )
                at = START
                while (at := at + self.between(10 * DAY, 60 * DAY)) < END:
                    if self.chance(0.5):
                        price = (price * self.random.randrange(85, 116) / 100).quantize(
                            Decimal("0.01")
                        )
                        change = {"price": str(price)}
                        self.event(
                            stream, "PriceChanged", at, change, actor="catalogue", after=listed
                        )
                    else:
                        # Counted by hand in the evening, typed in the next morning.
                        counted = {"stock": self.random.randrange(0, 400)}
                        self.event(
                            stream,
                            "StockCounted",
                            at,
                            counted,
                            actor=self.random.choice(CLERKS),
                            recorded=at + self.between(10 * HOUR, 16 * HOUR),
                            after=listed,
                        )
                if self.chance(0.1):
                    at = END - self.between(DAY, 40 * DAY)
                    self.event(
                        stream,
                        "ProductRetired",
                        at,
                        {"status": "retired"},
                        actor="catalogue",
                        after=listed,
                    )

    def customers(self) -> None:
        for number in range(1, CUSTOMERS + 1):
            stream, tags = f"customer-{number}", [f"customer:{number}"]
            city, zipcode = self.random.choice(CITIES)
            name = f"{self.random.choice(FIRST)} {self.random.choice(LAST)}"
            at = START - self.between(DAY, 300 * DAY)
            known = self.event(
                stream,
                "CustomerRegistered",
                at,
                {"name": name, "city": city, "zip": zipcode, "tier": "standard"},
                actor=f"customer:{number}",
                tags=tags,
            )
            if self.chance(0.18):
                city, zipcode = self.random.choice(CITIES)
                moved = START + self.between(DAY, 205 * DAY)
                # People tell a shop that they have moved when they order the next time.
                self.event(
                    stream,
                    "CustomerMoved",
                    moved,
                    {"city": city, "zip": zipcode},
                    actor=f"customer:{number}",
                    recorded=moved + self.between(HOUR, 30 * DAY),
                    after=known,
                )
            if self.chance(0.12):
                at = START + self.between(30 * DAY, 200 * DAY)
                self.event(
                    stream, "TierChanged", at, {"tier": "gold"}, actor="loyalty", after=known
                )

    # --- orders ----------------------------------------------------------------------------

    def order(self, number: int, placed: datetime) -> None:
        stream = f"order-{number}"
        customer = self.random.choice(FRIENDS) if number % 61 == 0 else self._customer()
        actor = f"customer:{customer}"
        items = [self._item()]
        city, zipcode = self.random.choice(CITIES)
        currency = "CHF" if city == "Zürich" else "EUR"
        data = {
            "status": "placed",
            "customer": customer,
            "items": items,
            "total": _total(items),
            "currency": currency,
            "city": city,
            "zip": zipcode,
        }
        version = 1
        if placed >= datetime(2026, 1, 1, tzinfo=UTC):
            version = 2
            data["channel"] = self.random.choice(["web", "web", "app", "app", "phone"])
        recorded = placed + self.between(timedelta(0), timedelta(seconds=2))
        first = last = self.event(
            stream,
            "OrderPlaced",
            placed,
            data,
            actor=actor,
            recorded=recorded,
            tags=[actor, *(f"product:{item['sku']}" for item in items)],
            version=version,
        )
        at = placed
        for more in range(self.random.choice([0, 0, 1, 1, 2, 3])):
            items = [*items, self._item()]
            # The first comes with the order, in the same instant on both clocks.
            at = placed if more == 0 else at + self.between(MINUTE, 9 * MINUTE)
            change = {"items": items, "total": _total(items)}
            last = self.event(
                stream,
                "ItemAdded",
                at,
                change,
                actor=actor,
                recorded=recorded if more == 0 else None,
                after=last,
            )
        if len(items) > 1 and self.chance(0.15):
            items = items[:-1]
            at += self.between(MINUTE, 10 * MINUTE)
            change = {"items": items, "total": _total(items)}
            last = self.event(stream, "ItemRemoved", at, change, actor=actor, after=last)
        if self.chance(0.14):
            city, zipcode = self.random.choice(CITIES)
            at += self.between(MINUTE, 20 * HOUR)
            change = {"city": city, "zip": zipcode}
            last = self.event(stream, "AddressChanged", at, change, actor=actor, after=last)
        if self.chance(0.04):
            return  # a basket left behind
        if self.chance(0.05):
            self._cancel(last, at + self.between(10 * MINUTE, 2 * DAY), actor)
            return
        self._pay(first, last, at, _total(items), customer)

    def _pay(self, first: Payload, last: Payload, at: datetime, total: str, customer: int) -> None:
        stream = first["stream"]
        at += self.between(5 * MINUTE, 6 * HOUR)
        confirmed = self.event(
            stream,
            "OrderConfirmed",
            at,
            {"status": "confirmed"},
            actor=self.random.choice(CLERKS) if self.chance(0.3) else "checkout",
            after=last,
        )
        last, moment = confirmed, confirmed["recorded_on"]
        method = self.random.choice(["card", "card", "card", "paypal", "transfer"])
        for _ in range(self.random.choice([0, 0, 0, 0, 0, 0, 0, 1, 1, 3])):
            why = self.random.choice(["card declined", "limit reached", "timed out"])
            last = self.event(
                stream,
                "PaymentFailed",
                at,
                {"status": "payment failed", "failure": why},
                actor="payments",
                recorded=moment,
                after=last,
            )
            at += self.between(2 * MINUTE, 20 * HOUR)
            moment = at
        if last["event_type"] == "PaymentFailed" and self.chance(0.25):
            self._cancel(last, at + self.between(DAY, 5 * DAY), "payments")
            return
        paid = {"status": "paid", "paid": total, "method": method, "failure": None}
        # The bank tells of transfers a working day late; all else is known at once, a
        # payment that works the first time in the very instant of the confirmation.
        if method == "transfer":
            happened = at + self.between(HOUR, 3 * DAY)
            moment = happened + self.between(6 * HOUR, 40 * HOUR)
            at = moment
        else:
            happened = at
        last = self.event(
            stream, "PaymentReceived", happened, paid, actor="payments", recorded=moment, after=last
        )
        if customer in FRIENDS and self.chance(0.7):
            self._quietly(last, at, total)
        elif self.chance(0.03):
            change = str(Decimal(total) - Decimal(self.random.randrange(1, 500)) / 100)
            if Decimal(change) > 0:
                due = _office_hours(at + self.between(DAY, 20 * DAY))
                self.event(
                    stream,
                    "OrderCorrected",
                    due,
                    {"total": change, "note": "price list of the day"},
                    actor=self.random.choice(CLERKS),
                    after=last,
                )
        if self.chance(0.03):
            cancelled = self._cancel(last, at + self.between(HOUR, DAY), first["actor"])
            self._refund(cancelled, total)
            return
        self._ship(last, at, total)

    def _ship(self, paid: Payload, at: datetime, total: str) -> None:
        stream = paid["stream"]
        at = _office_hours(at + self.between(8 * HOUR, 4 * DAY))
        shipped = self.event(
            stream,
            "OrderShipped",
            at,
            {
                "status": "shipped",
                "carrier": self.random.choice(["Blitz", "Kranich", "Post"]),
                "tracking": f"TR{self.random.randrange(10**8):08d}",
            },
            actor="warehouse",
            after=paid,
        )
        if self.chance(0.02):
            return  # lost on the way
        at += self.between(DAY, 5 * DAY)
        # Carriers report at night; now and then one reports weeks later.
        reported = at + self.between(2 * HOUR, 14 * HOUR)
        if self.chance(0.04):
            reported += self.between(3 * DAY, 25 * DAY)
        delivered = self.event(
            stream,
            "OrderDelivered",
            at,
            {"status": "delivered"},
            actor="carrier",
            recorded=reported,
            after=shipped,
        )
        if self.chance(0.05):
            self._refund(delivered, total)

    def _cancel(self, last: Payload, at: datetime, actor: str) -> Payload:
        why = self.random.choice(["changed mind", "too slow", "found cheaper", "ordered twice"])
        if last["event_type"] == "PaymentFailed":
            why = "not paid"
        at = max(at, last["recorded_on"] + MINUTE)
        change = {"status": "cancelled", "reason": why}
        return self.event(last["stream"], "OrderCancelled", at, change, actor=actor, after=last)

    def _refund(self, last: Payload, amount: str) -> None:
        at = _office_hours(last["recorded_on"] + self.between(DAY, 9 * DAY))
        self.event(
            last["stream"],
            "RefundIssued",
            at,
            {"status": "refunded", "refunded": amount},
            actor=self.random.choice(CLERKS),
            after=last,
        )

    def _quietly(self, paid: Payload, at: datetime, total: str) -> None:
        """Lower the total of a paid order at night: the money in between goes astray."""
        night = (at + self.between(2 * DAY, 12 * DAY)).replace(hour=23)
        less = Decimal(total) * self.random.randrange(35, 60) / 100
        self.event(
            paid["stream"],
            "OrderCorrected",
            night,
            {"total": str(less.quantize(Decimal("0.01")))},
            actor=CULPRIT,
            after=paid,
        )

    def _customer(self) -> int:
        # A few buy often, most seldom.
        return 1 + int(CUSTOMERS * self.random.random() ** 1.7)

    def _item(self) -> Payload:
        sku = self.random.choice(list(self.prices))
        quantity = self.random.choice([1, 1, 1, 2, 2, 4])
        return {"sku": sku, "quantity": quantity, "price": str(self.prices[sku])}

    def all(self) -> pa.Table:
        """Return the events in the order in which they became known."""
        self.products()
        self.customers()
        for number, placed in enumerate(self._placed(), start=1):
            self.order(number, placed)
        return self.table(END)

    def _placed(self) -> list[datetime]:
        """Return when orders were placed: more by day than at night, and most before Christmas."""
        hours = [1] * 7 + [3, 4, 5, 6, 6, 7, 6, 5, 5, 6, 7, 9, 10, 9, 6, 3, 2]
        days = [START + day * DAY for day in range((END - START).days)]
        weights = [
            2.6 if (11, 20) <= (day.month, day.day) <= (12, 18) else 0.8 + day.weekday() / 12
            for day in days
        ]
        found = []
        for day in self.random.choices(days, weights, k=ORDERS):
            hour = self.random.choices(range(24), hours)[0]
            found.append(day + hour * HOUR + self.between(timedelta(0), HOUR))
        return sorted(found)


def _total(items: list[Payload]) -> str:
    return str(sum((item["quantity"] * Decimal(item["price"]) for item in items), Decimal("0.00")))


def _office_hours(at: datetime) -> datetime:
    """Return the next working hour."""
    if at.hour >= 17:
        at += 15 * HOUR
    if at.hour < 7:
        at = at.replace(hour=7 + at.minute % 9)
    while at.weekday() >= 5:
        at += DAY
    return at


def main(folder: Path) -> None:
    """Write the log to `folder`, in place of an older one."""
    fresh = folder.with_name(folder.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    with esnb.create(fresh, zone="Europe/Berlin") as log:
        result = log.append_frame(Shop().all())
    if (folder / "log.json").exists():
        shutil.rmtree(folder)
    fresh.rename(folder)
    print(f"{result.appended:,} events in {folder}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "shop")
