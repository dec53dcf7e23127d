"""Estimates of learning coefficients, and the axes that they are shown on."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from itertools import chain, compress
from typing import Any

import numpy as np

from lightning_physim import keys
from lightning_physim.curves import NOTHING, Metrics, values_at
from lightning_physim.llc import diagnose, is_far_off
from lightning_physim.report.style import FAINT, HUES, INK, head_style

DECADES = 4
"""Decades that a logarithmic axis of estimates shows, at most."""
LABEL = 15
"""Height of the label of a tick with the room that it needs, in pixels."""


@dataclass(frozen=True)
class Estimates:
    """Estimates along one line of a figure; all arrays ``[n]``.

    Attributes:
        x: training step, or step size of the sampler.
        mean: NaN where there is none.
        low, high: ends of the interval, two standard errors either way; the mean where no error is known.
        believed: passed the diagnostics.
        plausible: of the right size at least: failed none, or not by much.
        hover: what is to be read at each.
    """

    x: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    believed: np.ndarray
    plausible: np.ndarray
    hover: list[str]

    @classmethod
    def of(cls, x: Iterable[float], rows: Iterable[Mapping[str, Any]], titles: Iterable[str]) -> "Estimates":
        """From rows of ``mean``, ``mcse``, diagnostics and ``converged``; what is missing or None counts as NaN."""
        numbers = [{name: _number(value) for name, value in row.items()} for row in rows]
        mean, mcse, converged = (
            np.array([row.get(name, np.nan) for row in numbers]) for name in ("mean", "mcse", "converged")
        )
        believed = np.isfinite(mean) & (converged != 0)
        error = np.where(np.isfinite(mcse), 2 * mcse, 0.0)
        return cls(
            x=np.array(list(x), dtype=float),
            mean=mean,
            low=mean - error,
            high=mean + error,
            believed=believed,
            plausible=believed | np.isfinite(mean) & ~np.array([is_far_off(row) for row in numbers], dtype=bool),
            hover=[_hover(title, row) for title, row in zip(titles, numbers, strict=True)],
        )

    @classmethod
    def of_region(cls, metrics: Metrics, region: str) -> "Estimates":
        """Those of a region that a run has logged, by training step."""
        steps, _ = metrics.get(keys.LLC_MEAN.of(region=region), NOTHING)
        logged = {name: metrics[key] for name, row in keys.LLC.items() if (key := row.of(region=region)) in metrics}
        curves = {name: dict(zip(*curve, strict=True)) for name, curve in logged.items()}
        rows = [{name: curve[step] for name, curve in curves.items() if step in curve} for step in steps]
        return cls.of(steps, rows, [f"<b>{region_name(region)}</b>, step {step:,}" for step in steps])

    @classmethod
    def orders(cls, metrics: Metrics, region: str) -> "Estimates":
        """The orders of the loss beside :meth:`of_region`, those with an interval: of estimates well above zero."""
        llc = cls.of_region(metrics, region)
        order, low, high = (
            values_at(metrics.get(key.of(region=region), NOTHING), llc.x)
            for key in (keys.LLC_ORDER, keys.LLC_ORDER_LO, keys.LLC_ORDER_HI)
        )
        words = [f"order {p:.2f}, 95 % interval {a:.2f} to {b:.2f}" for p, a, b in zip(order, low, high, strict=True)]
        hover = [text.replace("<br>", f"<br>{word}<br>", 1) for text, word in zip(llc.hover, words, strict=True)]
        return replace(llc, mean=order, low=low, high=high, hover=hover).kept(np.isfinite(order + low + high))

    @classmethod
    def joined(cls, lines: Iterable["Estimates"]) -> "Estimates":
        """Those of several lines as one."""
        lines = list(lines)
        arrays = {
            field.name: np.concatenate([getattr(line, field.name) for line in lines])
            for field in fields(cls)
            if field.name != "hover"
        }
        return cls(**arrays, hover=list(chain.from_iterable(line.hover for line in lines)))

    def kept(self, which: np.ndarray) -> "Estimates":
        """Those of a mask ``[n]``."""
        arrays = {name: values[which] for name, values in vars(self).items() if name != "hover"}
        return replace(self, **arrays, hover=list(compress(self.hover, which)))

    def within(self, scale: "Scale") -> np.ndarray:
        """The means, NaN where one is beyond the axis."""
        return np.where((self.mean >= scale.low) & (self.mean <= scale.high), self.mean, np.nan)


@dataclass(frozen=True)
class Scale:
    """What an axis of estimates shows; an estimate beyond stands at its end.

    Attributes:
        low, high: the lowest and the highest value.
        log: whether it is logarithmic.
    """

    low: float
    high: float
    log: bool = False

    @classmethod
    def of(cls, lines: Iterable[Estimates]) -> "Scale":
        """Logarithmic where most estimates are above zero: heads differ by decades. Linear where they are not."""
        points = Estimates.joined(lines)
        above = points.mean[_shown(points)] > 0
        return cls._decades(points) if 2 * above.sum() > len(above) else cls.linear([points])

    @classmethod
    def _decades(cls, points: Estimates) -> "Scale":
        """All plausible estimates, the intervals of those believed, and others up to a decade above.

        The floor is half of the smallest estimate whose interval excludes zero: chance alone has put others where they
        are. The axis has a decade at least and :data:`DECADES` at most.
        """
        above = _shown(points) & (points.mean > 0)
        known = above & (points.low > 0)
        high = np.max(np.where(points.believed, points.high, points.mean)[above])
        high = float(np.max(points.mean[points.mean <= 10 * high], initial=high))
        low = float(np.min(points.mean[known if known.any() else above])) / 2
        return cls(float(np.clip(low, high / 10**DECADES, high / 10)), high, log=True)

    @classmethod
    def linear(cls, lines: Iterable[Estimates], strict: bool = False, hold: tuple[float, ...] = (0.0,)) -> "Scale":
        """All plausible estimates, the intervals of those believed, and others up to as much again beyond.

        Args:
            strict: start from the estimates to be believed, where there are any, not from all plausible ones.
            hold: values that it shows whatever the estimates are.
        """
        points = Estimates.joined(lines)
        shown = _shown(points, strict)
        low = float(np.min(np.where(points.believed, points.low, points.mean)[shown], initial=min(hold)))
        high = float(np.max(np.where(points.believed, points.high, points.mean)[shown], initial=max(hold)))
        high = high if high > low else low + 1
        finite = points.mean[np.isfinite(points.mean)]
        near = finite[np.abs(finite - (low + high) / 2) <= 1.5 * (high - low)]
        return cls(float(np.min(near, initial=low)), float(np.max(near, initial=high)))

    @property
    def ends(self) -> tuple[float, float]:
        """Of the axis, with some air beyond what it shows."""
        if self.log:
            air = (self.high / self.low) ** 0.06
            return self.low / air, self.high * air
        air = 0.06 * (self.high - self.low)
        return self.low - air, self.high + air

    def axis(self, height: float) -> dict[str, Any]:
        """The axis of a panel of this height in pixels; a linear one has a line at zero."""
        low, high = self.ends
        if not self.log:
            return {"range": [low, high], "zeroline": True, "zerolinecolor": FAINT, "zerolinewidth": 1}
        ends = np.log10([low, high])
        has_room = height * np.log10(2) / (ends[1] - ends[0]) > LABEL  # between 1 and 2
        return {"type": "log", "range": ends.tolist(), "dtick": "D2" if has_room else 1, "tickformat": "~g"}


def _shown(points: Estimates, strict: bool = False) -> np.ndarray:
    """Which estimates an axis is made for, ``[n]``: the plausible ones, or all that are finite where none is."""
    masks = (points.believed if strict else points.plausible, points.plausible)
    return next((mask for mask in masks if mask.any()), np.isfinite(points.mean))


def region_name(region: str) -> str:
    """A region in words."""
    return "whole model" if region == keys.MODEL else region


def region_style(region: str, among: Iterable[str]) -> tuple[str, str]:
    """Colour and dash of a region: a head has its own, the model that of ink, other regions the hues in turn."""
    if region == keys.MODEL:
        return INK, "solid"
    if keys.is_head(region):
        return head_style(region)
    others = sorted(name for name in among if name != keys.MODEL and not keys.is_head(name))
    return HUES[others.index(region) % len(HUES)], "solid"


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def _hover(title: str, row: Mapping[str, float]) -> str:
    mean, mcse, rhat, ess, shift = (row.get(name, np.nan) for name in ("mean", "mcse", "rhat", "ess", "shift"))
    lines = [
        title,
        f"LLC {mean:.3g} ± {mcse:.2g} (standard error)",
        f"R-hat {rhat:.3f}, effective sample size {ess:.0f}",
    ]
    lines += [f"shift {shift:.3g}"] if np.isfinite(shift) else []
    walk = row.get("walk", np.nan)
    lines += [f"a walk without the loss would give {walk:.3g}"] if np.isfinite(walk) else []
    if not np.isfinite(mean):
        lines[1:] = ["no finite value"]
    if row.get("converged") == 0 or not np.isfinite(mean):
        lines.append("failed: " + ("; ".join(diagnose(row).values()) or "the reason was not logged"))
    return "<br>".join(lines)
