"""Widgets: what an analyst touches, each with a headless twin.

Every piece draws what a plain function returns (`Piece.data`), says how it came about
(`Piece.sql`, `Piece.code`), and follows a `Session`, which joins the pieces of a notebook.
The browser sends intents ("the rows from 200 on", "this edge"); Python makes questions of
them.
"""

from esnb.widget.chips import Chips
from esnb.widget.explore import Explore
from esnb.widget.flow_map import FlowMap
from esnb.widget.piece import Answer, Piece, intent
from esnb.widget.population import Population
from esnb.widget.query import Query
from esnb.widget.replay import Replay
from esnb.widget.session import Session, Streams
from esnb.widget.state_diff import StateDiff
from esnb.widget.table import EventTable
from esnb.widget.timeline import Timeline
from esnb.widget.variants import Variants

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
