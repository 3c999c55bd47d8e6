"""The write side: aggregates loaded from the log, and saved to it."""

from esnb.write.repository import Repository

__all__ = ["Repository"]
