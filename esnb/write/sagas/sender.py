"""Sending the commands of many sagas at once, each of which ends in its own way."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from esnb.errors import (
    CommandError,
    CommitUncertain,
    DamagedLogError,
    EsnbError,
    LogBusyError,
    LogFormatError,
    ReadOnlyLogError,
    StorageError,
)
from esnb.write.commands.command import Command
from esnb.write.commands.commands import Commands
from esnb.write.commands.dispatch import Outcome
from esnb.write.sagas.state import Head

__all__ = ["Ended", "Moved", "Sender"]

Ended = Outcome | Exception
_Letter = tuple[Command, dict[str, Any]]

# What is wrong with the log is no failure of a step.
_OF_THE_LOG = (
    StorageError, LogBusyError, ReadOnlyLogError, DamagedLogError, LogFormatError,
)  # fmt: skip


class Moved(Exception):
    """Somebody else wrote to a saga, or it is not known what was written."""


class Sender:
    """Sends commands for sagas.

    Parameters
    ----------
    actor
        In whose name.
    """

    def __init__(self, commands: Commands, actor: str) -> None:
        self._commands = commands
        self._actor = actor
        self._known: Mapping[str, type[Command]] = {
            command.__name__: command for command in commands.known
        }

    def send(self, heads: Sequence[Head]) -> list[Ended]:
        """Send the commands; return how each ended: its outcome, or any error of its own.

        Raises
        ------
        StorageError, LogBusyError, ReadOnlyLogError, DamagedLogError
            What can be said of no command.
        Moved
            If it is not known what was written.
        """
        ended: dict[int, Ended] = {}
        together: dict[int, _Letter] = {}
        alone: dict[int, _Letter] = {}
        for number, head in enumerate(heads):
            try:
                command = self._command(head)
                waits = self._commands.waits(command)
            except EsnbError as error:
                ended[number] = error
                continue
            envelope = {
                "actor": self._actor,
                "correlation_id": head.item["talk"],
                "causation_id": head.item["cause"],
            }
            (alone if waits else together)[number] = command, envelope
        if alone:
            ended |= zip(alone, self._waited(list(alone.values())), strict=True)
        ended |= zip(together, self._grouped(list(together.values())), strict=True)
        for how in ended.values():
            if isinstance(how, CommitUncertain):
                raise Moved from how
            if isinstance(how, _OF_THE_LOG):
                raise how
        return [ended[number] for number in range(len(heads))]

    def _command(self, head: Head) -> Command:
        kind = self._known.get(head.command)
        if kind is None:
            raise CommandError(
                f"nothing handles {head.command}; give its aggregate to the commands that the "
                "runner was made with"
            )
        return kind(command_id=head.command_id, **head.fields)

    def _grouped(self, letters: Sequence[_Letter]) -> list[Ended]:
        if len(letters) > 1:
            try:
                with self._commands.batch() as batch:
                    sent = [batch.send(command, **envelope) for command, envelope in letters]
                return [one.ended or CommandError("it was not sent") for one in sent]
            except (CommitUncertain, *_OF_THE_LOG) as error:
                return [error for _ in letters]
            except Exception:  # noqa: S110 (an error of one handler: which one is told below)
                pass
        found: list[Ended] = []
        for command, envelope in letters:
            try:
                found.append(self._commands.send(command, **envelope))
            except Exception as error:
                found.append(error)
        return found

    def _waited(self, letters: Sequence[_Letter]) -> list[Ended]:
        """Send commands whose handlers are ``async``, side by side, in a loop of their own."""

        async def all_of() -> list[Any]:
            return await asyncio.gather(
                *(self._commands.asend(command, **envelope) for command, envelope in letters),
                return_exceptions=True,
            )

        # In a notebook a loop runs in this thread already.
        with ThreadPoolExecutor(1) as thread:
            found: list[Any] = thread.submit(asyncio.run, all_of()).result()
        for one in found:
            if isinstance(one, BaseException) and not isinstance(one, Exception):
                raise one
        return found
