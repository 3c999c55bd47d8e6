"""Questions to the log, answered by a locked DuckDB."""

from esnb.query.session import Session

__all__ = ["Session"]
