"""Figures and the HTML report of a run, and of the trials of a sweep."""

from lightning_physim.report.comparison import write_comparison
from lightning_physim.report.figures import attention_distance_figure, loss_figure, rollout_figure, scores_figure
from lightning_physim.report.html import write_report
from lightning_physim.report.live import LiveReport
from lightning_physim.report.llc_figures import llc_figure
from lightning_physim.report.sampler_figures import calibration_figure, llc_trace_figure
from lightning_physim.report.summary import head_table, headline, print_summary

__all__ = [
    "LiveReport",
    "attention_distance_figure",
    "calibration_figure",
    "head_table",
    "headline",
    "llc_figure",
    "llc_trace_figure",
    "loss_figure",
    "print_summary",
    "rollout_figure",
    "scores_figure",
    "write_comparison",
    "write_report",
]
