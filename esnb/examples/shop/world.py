"""The world around the shop: people, places, goods and habits, all of them made up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

__all__ = [
    "CARRIERS", "CITIES", "CLERKS", "CULPRIT", "CUSTOMERS", "DAY", "END", "FIRST_NAMES", "FRIENDS",
    "GOODS", "HOUR", "HOURS", "LAST_NAMES", "MINUTE", "NEW_YEAR", "ORDERS", "SEED", "START",
    "office_hours", "rush",
]  # fmt: skip

SEED = 20_250_901
ORDERS, CUSTOMERS = 4_000, 900
START = datetime(2025, 9, 1, tzinfo=UTC)
END = datetime(2026, 4, 1, tzinfo=UTC)
# From then on the shop runs the classes of today.
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)

CITIES = [
    ("Berlin", "10115"), ("Hamburg", "20095"), ("München", "80331"), ("Köln", "50667"),
    ("Dresden", "01067"), ("Leipzig", "04103"), ("Bremen", "28195"), ("Kiel", "24103"),
    ("Wien", "1010"), ("Graz", "8010"), ("Zürich", "8001"), ("Łódź", "90-001"),
]  # fmt: skip
FIRST_NAMES = [
    "Ada", "Bela", "Chloé", "Dana", "Emre", "Finn", "Grete", "Hugo", "Ines", "Jonas", "Kira",
    "Lars", "Mila", "Noor", "Olga", "Piotr", "Rosa", "Søren",
]  # fmt: skip
LAST_NAMES = [
    "Adler", "Brandt", "Castro", "Demir", "Engel", "Falk", "Groß", "Huber", "Iwanow", "Jansen",
    "Keller", "Lindt", "Meyer", "Novak", "Otto", "Peters", "Roth", "Šimek",
]  # fmt: skip
GOODS = ["lamp", "chair", "desk", "shelf", "rug", "mirror", "clock", "vase", "stool", "blanket"]
CLERKS = ["a.lorenz", "j.alvarez", "t.okafor", "m.sato"]
CARRIERS = ["Blitz", "Kranich", "Post"]
# How many of a hundred orders come in each hour of the day.
HOURS = [1] * 7 + [3, 4, 5, 6, 6, 7, 6, 5, 5, 6, 7, 9, 10, 9, 6, 3, 2]

# The story to be found: this clerk lowers the totals of paid orders of two customers, at night.
CULPRIT, FRIENDS = "r.voss", (113, 271)


def rush(day: datetime) -> float:
    """Return how busy a day is: most before Christmas, a little more towards the weekend."""
    if (11, 20) <= (day.month, day.day) <= (12, 18):
        return 2.6
    return 0.8 + day.weekday() / 12


def office_hours(at: datetime) -> datetime:
    """Return the next working hour."""
    if at.hour >= 17:
        at += 15 * HOUR
    if at.hour < 7:
        at = at.replace(hour=7 + at.minute % 9)
    while at.weekday() >= 5:
        at += DAY
    return at
