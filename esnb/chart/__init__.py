"""Altair charts of events and states: tables in, charts out, shown without internet.

Each chart has a twin that returns what it draws: `events_over_time` draws
`event_counts`, `states_over_time` draws `state_counts`.
"""

from esnb.chart.counts import event_counts, state_counts
from esnb.chart.over_time import events_over_time, states_over_time
from esnb.chart.renderer import enable, mimebundle

__all__ = [
    "enable",
    "event_counts",
    "events_over_time",
    "mimebundle",
    "state_counts",
    "states_over_time",
]
