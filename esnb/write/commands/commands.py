"""The dispatcher: what an application sends its commands to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from esnb.aggregate import Aggregate
from esnb.errors import CommandError, EsnbError
from esnb.log import Log
from esnb.write.commands.command import Command
from esnb.write.commands.dispatch import Dispatcher, Outcome, letter_of
from esnb.write.commands.group import send_group
from esnb.write.commands.handlers import Handlers, Letter

__all__ = ["Batch", "Commands", "Sent"]


class Commands:
    """Sends commands to the aggregates of a log.

    A command is decided on by the one function that `handles` it, on the state of its aggregate
    as it stands, and what it leads to is appended if nobody else was faster; otherwise it is
    decided on again.  Its events have ids that come from the id of the command, so that a
    command that is sent twice, at once or after a crash, by one process or by several, happens
    once.

    Parameters
    ----------
    log
        The log.
    *handlers
        Aggregate classes, whose methods handle commands, and functions that do.
    clock
        Tells when events occur; the clock of the log by default.
    snapshot_every
        See `Repository`.
    hold
        How many aggregates are held in memory between commands.
    tries
        How often a command is decided on before a conflict is given up on.

    Raises
    ------
    CommandError
        If two handlers handle one command, or one does not say of which aggregate.

    Examples
    --------
    >>> commands = log.commands(Order)                              # doctest: +SKIP
    >>> commands.send(ConfirmOrder(order_id="17"), actor="ann")     # doctest: +SKIP
    """

    def __init__(
        self, log: Log, *handlers: type[Aggregate] | Callable[..., Any], **options: Any
    ) -> None:
        if not handlers:
            raise CommandError("say who handles commands: aggregate classes, or functions")
        self._dispatcher = Dispatcher(log, Handlers(*handlers), **options)

    @property
    def log(self) -> Log:
        """The log."""
        return self._dispatcher.log

    @property
    def known(self) -> tuple[type[Command], ...]:
        """Classes of the commands that are handled."""
        return tuple(handler.command for handler in self._dispatcher.handlers)

    def waits(self, command: Command) -> bool:
        """Tell whether the handler of a command is ``async``, so that it is sent by `asend`."""
        return self._dispatcher.handlers.of(command).waits

    def send(self, command: Command, **envelope: Any) -> Outcome:
        """Send a command; what it leads to is durable when this returns.

        Parameters
        ----------
        **envelope
            ``actor``: who wants it.  ``correlation_id``: the conversation; the id of the command
            by default.  ``causation_id``: the event that the command follows from, kept in the
            metadata of its events as ``caused_by``, as their own ``causation_id`` is the
            command.  ``occurred_on``, ``tags``, ``metadata``, as `DomainEvent` has them.

        Returns
        -------
        Outcome
            For a command that was sent before, what it led to then.

        Raises
        ------
        CommandRejected
            If a rule refuses it.  Nothing happened, nothing is noted: sent again it is
            decided on again.
        StreamNotFoundError
            If there is no such aggregate, naming near ones.
        RevisionConflictError
            If others were faster every time.
        CommitUncertain
            Send it again: it happens once.
        CommandError
            If nothing handles it, or its id was that of another command.
        EventError
            If the handler makes an event that does not fit its class.
        """
        return self._dispatcher.send(letter_of(command, **envelope))

    async def asend(self, command: Command, **envelope: Any) -> Outcome:
        """Send a command as `send` does, while the event loop does other work.

        ``async`` handlers run in the loop, all else in threads.  One that is cancelled may
        have happened all the same: send it again, it happens once.
        """
        return await self._dispatcher.asend(letter_of(command, **envelope))

    def send_many(self, commands: Iterable[Command], **envelope: Any) -> list[Outcome | EsnbError]:
        """Send many commands, hundreds in a commit; all are durable when this returns.

        Each is decided on after those before it, and accepted or refused alone.  An error in a
        handler ends it with that error; what was written before stays, and sending all again
        repeats nothing.

        Parameters
        ----------
        **envelope
            As in `send`, for each of them.

        Returns
        -------
        list
            For each command its outcome, or the error that `send` would have raised.
        """
        return send_group(
            self._dispatcher, [letter_of(command, **envelope) for command in commands]
        )

    @contextmanager
    def batch(self) -> Iterator[Batch]:
        """Collect commands within the block, and send them together at its end.

        If the block ends in an error none is sent.

        Examples
        --------
        >>> with commands.batch() as batch:                                  # doctest: +SKIP
        ...     sent = [batch.send(command, actor="ann") for command in many]
        >>> sent[0].result()                                                 # doctest: +SKIP
        """
        batch = Batch()
        yield batch
        results = send_group(self._dispatcher, [letter for letter, _ in batch.letters])
        for (_, sent), result in zip(batch.letters, results, strict=True):
            sent.ended = result

    def __repr__(self) -> str:
        names = ", ".join(sorted(command.__name__ for command in self.known))
        return f"Commands({str(self.log.path)!r}: {names})"


class Sent:
    """A command of a batch, which will have ended when the batch has."""

    ended: Outcome | EsnbError | None = None

    def result(self) -> Outcome:
        """Return the outcome, or raise what `Commands.send` would have raised."""
        if self.ended is None:
            raise CommandError("the command was not sent yet: that is done when the batch ends")
        if isinstance(self.ended, EsnbError):
            raise self.ended
        return self.ended


class Batch:
    """Commands that are to be sent together."""

    def __init__(self) -> None:
        self.letters: list[tuple[Letter, Sent]] = []

    def send(self, command: Command, **envelope: Any) -> Sent:
        """Add a command (see `Commands.send`)."""
        sent = Sent()
        self.letters.append((letter_of(command, **envelope), sent))
        return sent
