"""Domains written with esnb, to read, to try out and to measure."""
