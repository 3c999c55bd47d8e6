"""Notebooks in a real JupyterLab, through Chromium."""
