"""Flows: how cases went.  Which event comes after which, how often, and after how long."""

from esnb.flow.flow import Flow

__all__ = ["Flow"]
