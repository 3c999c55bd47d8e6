"""The write side: commands, aggregates loaded from the log and saved to it."""

from esnb.write.command import Command
from esnb.write.commands import Batch, Commands, Sent
from esnb.write.dispatch import Outcome
from esnb.write.handlers import handles
from esnb.write.repository import Repository

__all__ = ["Batch", "Command", "Commands", "Outcome", "Repository", "Sent", "handles"]
