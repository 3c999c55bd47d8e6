"""Aggregates, written once: an ordinary class that Python runs, and that SQL folds.

`Event` is what an event of one type says, `Aggregate` the class whose ``when`` methods
move the state.  `tracing` runs those methods on values that are not known yet, `plan`
chooses how each field is folded, `compile` and `finite` make SQL and an automaton of it.
"""

from esnb.aggregate.event import Event
from esnb.aggregate.root import Aggregate

__all__ = ["Aggregate", "Event"]
