"""Notebooks and README run as they stand."""
