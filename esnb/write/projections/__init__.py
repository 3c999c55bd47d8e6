"""Projections: read models kept beside the log, and the runners that keep them."""
