"""Tables and pictures of an evaluation, from per-sample columns that somebody else computed."""

from faces.report.pictures import plot_learning_curves
from faces.report.summary import format_summary, summarize
from faces.report.sweep import write_sweep_report
from faces.report.tables import error_by_age, write_report

__all__ = ["error_by_age", "format_summary", "plot_learning_curves", "summarize", "write_report", "write_sweep_report"]
