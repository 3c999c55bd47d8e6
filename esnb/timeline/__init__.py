"""Every state of every aggregate, and the questions asked of it.

A state at a time is the fold of the events up to that time.  `Timeline` holds
that rule for a category: what is folded is described in `esnb.timeline.fold`,
the table of every period in which a state did not change is built in
`esnb.timeline.build`, and the other modules ask it questions.
"""

from esnb.timeline.timeline import Timeline

__all__ = ["Timeline"]
