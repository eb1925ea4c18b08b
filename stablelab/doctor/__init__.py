"""What is wrong with this run? Rules that look at a log, each with its formula, threshold and source."""

from .examination import RULES, examine
from .findings import Cause, Finding, NotChecked, Report

__all__ = ["RULES", "Cause", "Finding", "NotChecked", "Report", "examine"]
