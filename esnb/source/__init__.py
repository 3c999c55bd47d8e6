"""Bringing events in from files and frames, with a ledger of what was refused."""

from esnb.source.ledger import ImportResult
from esnb.source.load import import_events
from esnb.source.roles import constant

__all__ = ["ImportResult", "constant", "import_events"]
