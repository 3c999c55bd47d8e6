"""A notebook, run with parameters, as one HTML file that needs no kernel and no network."""

from esnb.report.parameters import with_parameters
from esnb.report.run import Ran, report

__all__ = ["Ran", "report", "with_parameters"]
