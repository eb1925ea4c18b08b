"""Reports on a sweep as one HTML page."""

from .stability_report import stability_report

__all__ = [
    "stability_report",
]
