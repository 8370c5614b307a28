"""Tables and pictures of an evaluation, from per-sample columns that somebody else computed."""

from faces.report.comparison import compare_columns, format_comparison
from faces.report.evaluation import evaluate_columns
from faces.report.pictures.evaluation import plot_learning_curves
from faces.report.summary import format_summary, summarize
from faces.report.sweep import write_sweep_report
from faces.report.tables import error_by_age, format_groups, write_report

__all__ = [
    "compare_columns",
    "error_by_age",
    "evaluate_columns",
    "format_comparison",
    "format_groups",
    "format_summary",
    "plot_learning_curves",
    "summarize",
    "write_report",
    "write_sweep_report",
]
