"""Flows: how cases went.  Which event comes after which, how often, and after how long."""

from esnb.flow.flow import Flow
from esnb.flow.objects import ObjectFlow

__all__ = ["Flow", "ObjectFlow"]
