"""Altair charts of events, states and flows: tables in, charts out, shown without internet.

Each chart has a twin that returns what it draws, from the same parameters:

==================== ==========================================
`events_over_time`   `event_counts`
`states_over_time`   `state_counts`
`types_over_time`    `type_counts`
`flow_map`           `flow_edges`, `flow_boxes`
`difference_map`     `difference_edges` of ``flow.between(a, b)``
`transition_matrix`  `transitions`
`variants_chart`     ``flow.variants(limit)``
`durations_chart`    `duration_bins`
`funnel_chart`       ``flow.funnel(types, within)``
`alluvial_chart`     `alluvial_steps`
`dotted_chart`       `dots`
`spectrum_chart`     `spectrum_lines`
==================== ==========================================
"""

from esnb.chart.alluvial import alluvial_chart, alluvial_steps
from esnb.chart.by_type import type_counts, types_over_time
from esnb.chart.counts import event_counts, state_counts
from esnb.chart.difference import difference_edges, difference_map
from esnb.chart.dotted import dots, dotted_chart
from esnb.chart.durations import duration_bins, durations_chart
from esnb.chart.flow_map import flow_map
from esnb.chart.funnel import funnel_chart
from esnb.chart.graph import flow_boxes, flow_edges
from esnb.chart.matrix import transition_matrix, transitions
from esnb.chart.over_time import events_over_time, states_over_time
from esnb.chart.renderer import enable, mimebundle
from esnb.chart.spectrum import spectrum_chart, spectrum_lines
from esnb.chart.variants import variants_chart

__all__ = [
    "alluvial_chart",
    "alluvial_steps",
    "difference_edges",
    "difference_map",
    "dots",
    "dotted_chart",
    "duration_bins",
    "durations_chart",
    "enable",
    "event_counts",
    "events_over_time",
    "flow_boxes",
    "flow_edges",
    "flow_map",
    "funnel_chart",
    "mimebundle",
    "spectrum_chart",
    "spectrum_lines",
    "state_counts",
    "states_over_time",
    "transition_matrix",
    "transitions",
    "type_counts",
    "types_over_time",
    "variants_chart",
]
