"""What a notebook shows of timelines: short, true, and never markup from an event."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import esnb
from esnb import Aggregate, Event
from esnb.eventlog import EventLog

HOSTILE = "<script>alert(1)</script>"


class Opened(Event):
    owner: str


class Paid(Event):
    amount: int


class Closed(Event):
    pass


class Account(Aggregate, category="account"):
    status: str = "new"
    owner: str = ""
    balance: int = 0

    def when_opened(self, e: Opened) -> None:
        self.status = "open"
        self.owner = e.owner

    def when_paid(self, e: Paid) -> None:
        if self.status == "open":
            self.balance += e.amount

    def when_closed(self, e: Closed) -> None:
        self.status = "closed"


@pytest.fixture
def accounts(tmp_path: Path) -> Iterator[EventLog]:
    with esnb.create(tmp_path / "log", zone="UTC") as log:
        for number in range(12):
            log.append(
                f"account-{number}{HOSTILE if number == 3 else ''}",
                [
                    Opened(owner=HOSTILE).to_domain_event(actor=HOSTILE),
                    Paid(amount=5).to_domain_event(),
                    *([Closed().to_domain_event()] if number % 2 else []),
                ],
            )
        yield log


def test_a_timeline_of_a_class_tells_how_its_fields_are_folded(accounts: EventLog) -> None:
    page = accounts.timeline(Account)._repr_html_()
    assert "Timeline(Account)" in page
    assert "30 events, 12 streams, 12 there now" in page
    [row] = [row for row in page.split("<tr>") if ">balance<" in row]
    assert ">BIGINT<" in row
    assert ">sum (tier 2)<" in row


def test_periods_are_counted_and_the_first_are_shown(accounts: EventLog) -> None:
    periods = accounts.timeline(Account).when(lambda a: a.status == "open")
    page = periods._repr_html_()
    assert "12 periods of 12 aggregates, 6 still going on; the first 10" in page
    assert page.count("<tr>") == 1 + 10
    assert "account-0" in page
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "account-0" in repr(periods)


def test_no_periods_are_an_empty_table(accounts: EventLog) -> None:
    page = accounts.timeline(Account).when("balance > 5")._repr_html_()
    assert "0 periods of 0 aggregates, 0 still going on" in page
    assert "first 10" not in page


def test_what_if_shows_what_differs(accounts: EventLog) -> None:
    line = accounts.timeline(Account)
    page = line.what_if(drop="event_type = 'Closed'")._repr_html_()
    assert "beside Timeline(Account): 6 events taken out, 0 put in" in page
    assert "6 aggregates touched" in page
    [row] = [row for row in page.split("<tr>") if ">status<" in row]
    assert ">6<" in row
    assert ">balance<" not in page
    assert "<script>" not in page


def test_what_if_of_another_class_says_which(accounts: EventLog) -> None:
    class Doubled(Account, category="account"):
        def when_paid(self, e: Paid) -> None:
            self.balance += 2 * e.amount

    page = accounts.timeline(Account).what_if(using=Doubled)._repr_html_()
    assert "0 events taken out, 0 put in; folded by Doubled" in page
    [row] = [row for row in page.split("<tr>") if ">balance<" in row]
    assert ">12<" in row


def test_an_aggregate_that_never_was_has_a_row_of_its_own(accounts: EventLog) -> None:
    page = accounts.timeline(Account).what_if(drop="stream = 'account-0'")._repr_html_()
    assert "3 events taken out" not in page
    assert "2 events taken out, 0 put in; 1 aggregate touched" in page
    assert page.count(">account-0<") == 3


def test_what_changes_nothing_says_so(accounts: EventLog) -> None:
    page = accounts.timeline(Account).what_if(drop=[])._repr_html_()
    assert "0 events taken out, 0 put in; 0 aggregates touched" in page
    assert "The states are the same now." in page
    assert "<table>" not in page


def test_one_field_explains_itself_as_all_do() -> None:
    whole = Account.explain()
    assert repr(whole["balance"]).startswith("balance  tier 2  sum\n")
    assert "reads status" in repr(whole["balance"])
    for row in whole:
        assert repr(row).splitlines()[-1].strip() in repr(whole)
        assert row._repr_html_().count("<td") == 4
    assert whole._repr_html_().count("<td") == 4 * len(list(whole))
