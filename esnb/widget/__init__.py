"""Widgets: what an analyst touches, each with a headless twin.

Every piece draws what a plain function returns (`Piece.data`), says how it came about
(`Piece.sql`, `Piece.code`), and follows a `Session`, which joins the pieces of a notebook.
The browser sends intents ("the rows from 200 on", "this edge"); Python makes questions of
them.
"""

from esnb.widget.base.piece import Answer, Piece, intent
from esnb.widget.base.session import Session, Streams
from esnb.widget.chips import Chips
from esnb.widget.events.query import Query
from esnb.widget.events.table import EventTable
from esnb.widget.events.timeline import Timeline
from esnb.widget.explore import Explore
from esnb.widget.flows.flow_map import FlowMap
from esnb.widget.flows.variants import Variants
from esnb.widget.states.population import Population
from esnb.widget.states.replay import Replay
from esnb.widget.states.state_diff import StateDiff

__all__ = [
    "Answer",
    "Chips",
    "EventTable",
    "Explore",
    "FlowMap",
    "Piece",
    "Population",
    "Query",
    "Replay",
    "Session",
    "StateDiff",
    "Streams",
    "Timeline",
    "Variants",
    "intent",
]
