"""Figures and the HTML report of a run, of several, and of the trials of a sweep."""

from typing import TYPE_CHECKING

from lightning_physim.lazy import lazily
from lightning_physim.report.claims_page import write_reproduction
from lightning_physim.report.comparison_page import runs_headline, write_comparison, write_runs
from lightning_physim.report.curve_figures import (
    attention_distance_figure,
    correlation_figure,
    loss_figure,
    rollout_figure,
    scores_figure,
)
from lightning_physim.report.heads import head_table
from lightning_physim.report.inside_figures import inside_figure
from lightning_physim.report.inside_table import print_inside
from lightning_physim.report.llc_figures import llc_figure
from lightning_physim.report.map_page import write_map
from lightning_physim.report.page import plot_html, section, write_page
from lightning_physim.report.run_page import write_report
from lightning_physim.report.sampler_figures import calibration_figure, llc_trace_figure
from lightning_physim.report.sections import RunContent
from lightning_physim.report.snapshot_figures import attention_map_figure, rollout_animation_figure
from lightning_physim.report.splits import print_splits
from lightning_physim.report.summary import headline, print_summary
from lightning_physim.report.viewer import viewer_html

if TYPE_CHECKING:
    from lightning_physim.report.live import LiveReport, try_report

__all__ = [
    "LiveReport",
    "RunContent",
    "attention_distance_figure",
    "attention_map_figure",
    "calibration_figure",
    "correlation_figure",
    "head_table",
    "headline",
    "inside_figure",
    "llc_figure",
    "llc_trace_figure",
    "loss_figure",
    "plot_html",
    "print_inside",
    "print_splits",
    "print_summary",
    "rollout_animation_figure",
    "rollout_figure",
    "runs_headline",
    "scores_figure",
    "section",
    "try_report",
    "viewer_html",
    "write_comparison",
    "write_map",
    "write_page",
    "write_report",
    "write_reproduction",
    "write_runs",
]

__getattr__ = lazily(__name__, {"LiveReport": "live", "try_report": "live"})
