"""What is sold, and to whom."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from esnb.examples.shop import commands as c
from esnb.examples.shop.planted import KINDS, Planted
from esnb.examples.shop.slips import Slips
from esnb.examples.shop.steps import Step, Steps
from esnb.examples.shop.world import (
    CITIES,
    CLERKS,
    CUSTOMERS,
    DAY,
    END,
    FIRST_NAMES,
    FRIENDS,
    GOODS,
    HOUR,
    LAST_NAMES,
    ORDERS,
    START,
    office_hours,
)

__all__ = ["Catalogue"]


class Catalogue(Steps):
    """Plans what becomes of products and customers.

    Parameters
    ----------
    orders
        How many orders there will be; there are 900 customers for 4,000 of them.
    seed
        See `Steps`.

    Attributes
    ----------
    planted
        What an audit should find, as far as it is planned.
    """

    def __init__(self, orders: int, seed: int) -> None:
        super().__init__(seed)
        self.orders = orders
        self.customers = max(CUSTOMERS * orders // ORDERS, max(FRIENDS))
        self.prices: dict[str, Decimal] = {}
        self.slips = Slips(self)
        self.planted: list[Planted] = []

    def products(self) -> None:
        for good in GOODS:
            for number in range(1, 7):
                name = f"{good}-{number}"
                price = Decimal(self.random.randrange(990, 24_990, 10)) / 100
                self.prices[name] = price
                at = START - self.between(DAY, 30 * DAY)
                listed = self.plan(
                    c.ListProduct, at, actor="catalogue", product_id=name, price=price
                )
                self.slips.listed(listed, name)
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
                    self.slips.retired(retired, name)

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
            self.plant("late count", counted)

    def _supply(self, listed: Step, name: str) -> None:
        """Let goods come every few weeks, about as many as are sold."""
        scale = self.orders / ORDERS
        at = listed.at + HOUR
        while at < END:
            busy = 2 if (11, 10) <= (at.month, at.day) <= (12, 18) else 1
            quantity = max(6, int(self.aside.randrange(18, 38) * busy * scale))
            self.beside(
                c.DeliverStock,
                at,
                actor="warehouse",
                after=listed,
                product_id=name,
                quantity=quantity,
            )
            at = office_hours(at + self.aside.randrange(18, 27) * DAY)

    def people(self) -> None:
        for number in range(1, self.customers + 1):
            tags = (f"customer:{number}",)
            own: dict[str, Any] = {"customer_id": number}
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
                self.slips.risen(risen, number)

    def plant(self, kind: KINDS, step: Step) -> None:
        category = "product" if isinstance(step.command, c.CountStock) else "order"
        stream = step.command.stream_in(category)
        self.planted.append(Planted(kind, stream, step.event_id, step.actor))
