"""One HTML file that shows a recorded run, a comparison of runs, or a lineage; opened from disk, it asks no network."""

from divmon.report.write import write_report

__all__ = ["write_report"]
