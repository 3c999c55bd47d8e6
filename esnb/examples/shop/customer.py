"""Customers."""

from __future__ import annotations

from esnb.aggregate import Aggregate
from esnb.errors import CommandRejected
from esnb.examples.shop.commands import ChangeTier, MoveCustomer, RegisterCustomer
from esnb.examples.shop.events import CustomerMoved, CustomerRegistered, TierChanged
from esnb.write import handles

__all__ = ["Customer"]


class Customer(Aggregate):
    """A customer."""

    name: str | None = None
    city: str | None = None
    zip: str | None = None
    tier: str = "standard"

    def when_registered(self, e: CustomerRegistered) -> None:
        self.name = e.name
        self.city = e.city
        self.zip = e.zip
        self.tier = e.tier

    def when_moved(self, e: CustomerMoved) -> None:
        self.city = e.city
        self.zip = e.zip

    def when_tier_changed(self, e: TierChanged) -> None:
        self.tier = e.tier

    @handles(RegisterCustomer, creates=True)
    def register(self, command: RegisterCustomer) -> CustomerRegistered:
        return CustomerRegistered(name=command.name, city=command.city, zip=command.zip)

    @handles(MoveCustomer)
    def move(self, command: MoveCustomer) -> CustomerMoved:
        return CustomerMoved(city=command.city, zip=command.zip)

    @handles(ChangeTier)
    def change_tier(self, command: ChangeTier) -> TierChanged:
        if command.tier == self.tier:
            raise CommandRejected("a tier changes to another one", tier=self.tier)
        return TierChanged(tier=command.tier)
