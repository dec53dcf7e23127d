"""Figures and the HTML report of a run."""

from lightning_physim.report.figures import attention_distance_figure, loss_figure, rollout_figure, scores_figure
from lightning_physim.report.html import write_report
from lightning_physim.report.summary import head_table, headline, print_summary

__all__ = [
    "attention_distance_figure",
    "head_table",
    "headline",
    "loss_figure",
    "print_summary",
    "rollout_figure",
    "scores_figure",
    "write_report",
]
