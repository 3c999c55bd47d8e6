"""Tests of a domain: given what happened, when a command comes, then this happens.

>>> from esnb import Aggregate, Command, CommandRejected, Event, handles
>>> class Opened(Event): ...
>>> class Closed(Event): ...
>>> class CloseAccount(Command):
...     account_id: str
>>> class Account(Aggregate):
...     open: bool = False
...     def when_opened(self, e: Opened):
...         self.open = True
...     def when_closed(self, e: Closed):
...         self.open = False
...     @handles(CloseAccount)
...     def close(self, command):
...         if not self.open:
...             raise CommandRejected("it is closed")
...         return Closed()
>>> close = CloseAccount(account_id="7")
>>> _ = given(Account, Opened()).when(close).then(Closed(), state(open=False))
>>> _ = given(Account, Opened(), Closed()).when(close).then(rejected("it is closed"))
>>> given(Account, Opened()).when(close).then(rejected())
Traceback (most recent call last):
AssertionError: CloseAccount on Account after Opened: expected a refusal, and it was accepted:
  Closed {}

A saga is tested likewise (see `docs/sagas.md`): given events, when something happens or time goes
by (a timedelta), then commands are sent; `answers` says how these end, `in_stream` where an event
is.

Beside it: `Clock`, time that stands still until it is told to go on; `replay`, which tells what
of a recorded history a changed class would have refused; and `esnb.testing.contract`, tests that
whatever is used in the place of a log must pass.
"""

from esnb.testing.clock import Clock
from esnb.testing.expected import state
from esnb.testing.given import Given, When, given, rejected
from esnb.testing.history import Refused, Replayed, replay
from esnb.testing.saga import GivenSaga, SentCommand, WhenSaga, answers, in_stream

__all__ = [
    "Clock",
    "Given",
    "GivenSaga",
    "Refused",
    "Replayed",
    "SentCommand",
    "When",
    "WhenSaga",
    "answers",
    "given",
    "in_stream",
    "rejected",
    "replay",
    "state",
]
