"""Sagas: what follows from what across aggregates, and the runner that sees to it."""
