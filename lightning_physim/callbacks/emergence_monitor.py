"""Say, while training runs, which heads emerge, by which law, and where they will end."""

import math
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import pytorch_lightning as pl

from lightning_physim import keys
from lightning_physim.callbacks.observer import Observer
from lightning_physim.callbacks.schedule import LogSchedule
from lightning_physim.emergence import (
    DEPARTURE,
    LAWS,
    UNDECIDED,
    approach,
    best_fit,
    compare_fits,
    emergence_threshold,
    emerging,
    fit_laws,
    fit_power_law,
    forecast,
    onset_step,
    too_few,
)
from lightning_physim.errors import InputError
from lightning_physim.loggers import run_loggers
from lightning_physim.ranges import check_positive

PARTNER_SCORES = keys.PARTNER_SCORE.removesuffix("{head}")


def columns() -> list[str]:
    """Of the table; the laws stand for their AICc weights."""
    return [
        "head", "verdict", "reason", *LAWS, "exponent", "exponent_lo", "exponent_hi", "onset_step", "onset_lo",
        "onset_hi", "forecast_step", "forecast", "forecast_lo", "forecast_hi",
    ]  # fmt: skip


class EmergenceMonitor(Observer):
    """Fits growth laws to the scores of every head so far, at log-spaced steps.

    Logs ``emergence/n_emerging``, the number of heads whose score has left its baseline for good. Their last five
    measurements lie above a tenth of the way from the median of the first three to ``ceiling``. As soon as there are
    points enough, it logs for those heads:

    - ``emergence/{head}/onset_step``: where the score crossed that threshold
      (:func:`lightning_physim.emergence.onset_step`);
    - ``emergence/{head}/exponent``, ``/exponent_lo``, ``/exponent_hi``: the power law of the approach, with its 95 %
      interval, whether or not a power law is the best one (:func:`lightning_physim.emergence.fit_power_law`);
    - ``emergence/{head}/forecast``, ``/forecast_lo``, ``/forecast_hi``: the score at the last planned step, or at ten
      times the present one where no end is planned, with a 95 % interval (:func:`lightning_physim.emergence.forecast`).
      From a tenth of the planned steps on, and not after the last.

    The table ``emergence/heads`` goes, once a decade and at the end, to every
    :class:`lightning_physim.loggers.RunLogger`: each head with the verdict of
    :func:`lightning_physim.emergence.compare_growth_laws`, its reason and the numbers above.

    The scores come from any callback with a ``history`` ``{key: (steps, values)}`` that holds keys beginning with
    ``score``, such as :class:`CollisionProbe`; the rest of the key names the head. Put the monitor after it: before it,
    the measurement of the same step is not there yet. All ranks compute the same; nothing is exchanged.

    Args:
        score: beginning of the keys. The partner score tends to a plateau below 1, as the laws have it. Enrichment is
            the same up to a constant; give its highest value as ``ceiling``. The raw score depends on the mass that a
            head puts on its own token.
        ceiling: highest possible score; 0 is the lowest.
        steps_per_decade: fits per tenfold increase of the step. One takes some tenths of a second per emerging head.

    Raises:
        InputError: no callback has such scores when training starts, or ``ceiling`` not positive.
    """

    name = "emergence"
    what = "growth of heads"

    def __init__(self, score: str = PARTNER_SCORES, ceiling: float = 1.0, steps_per_decade: int = 4) -> None:
        super().__init__(steps_per_decade)
        check_positive("units of the score", ceiling=ceiling)
        self.score = score
        self.ceiling = ceiling
        self.table_schedule = LogSchedule(1)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        callbacks = trainer.callbacks  # type: ignore[attr-defined]
        if stage == "fit" and not any(hasattr(callback, "history") for callback in callbacks):
            raise InputError(
                "EmergenceMonitor needs a history of scores; add CollisionProbe before it, or leave it out"
            )

    def due(self, trainer: pl.Trainer, final: bool) -> bool:
        return trainer.global_step > 0 and super().due(trainer, final)

    def measure(self, trainer: pl.Trainer, module: pl.LightningModule, final: bool) -> dict[str, float]:
        planned = float(trainer.estimated_stepping_batches)
        at = planned if math.isfinite(planned) else 10.0 * trainer.global_step
        rows = []
        n_emerging = 0
        for head, steps, values in self._curves(trainer):
            row: dict[str, Any] = dict.fromkeys(columns(), float("nan")) | {"head": head, "verdict": UNDECIDED}
            if emerging(values, self.ceiling):
                n_emerging += 1
                row |= self._emergence(steps, values, at)
            else:
                row["reason"] = "its score has not left its baseline for good"
            rows.append(row)
        data = [[row[column] for column in columns()] for row in rows]
        if rows and (final or self.table_schedule.due(trainer.global_step)):
            for logger in run_loggers(trainer.loggers):
                logger.log_table(keys.GROWTH_TABLE, columns(), data, trainer.global_step)
        numbers = {key.of(head=row["head"]): row[name] for row in rows for name, key in keys.EMERGENCE.items()}
        return {keys.N_EMERGING: n_emerging} | {k: v for k, v in numbers.items() if not math.isnan(v)}

    def _curves(self, trainer: pl.Trainer) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        """Each head with its steps and finite scores so far."""
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            for key, (steps, values) in getattr(callback, "history", {}).items():
                if key.startswith(self.score):
                    curve = np.array([steps, values], dtype=float)
                    known = np.isfinite(curve[1]) & (curve[0] > 0)
                    yield key[len(self.score) :], *curve[:, known]

    def _emergence(self, steps: np.ndarray, values: np.ndarray, at: float) -> dict[str, Any]:
        """The columns of the table for a head that emerges, as far as the points allow."""
        found: dict[str, Any] = {}
        with suppress(InputError):  # there is nothing ahead, or the end is too far
            ahead = forecast(steps, values, at, self.ceiling)
            found |= {"forecast_step": at, "forecast": float(ahead.value[0])}
            found |= {"forecast_lo": float(ahead.lo[0]), "forecast_hi": float(ahead.hi[0])}
        risen = approach(steps, values, DEPARTURE)
        if reason := too_few(risen[0]):
            return found | {"reason": reason}
        fits = fit_laws(*risen)
        comparison = compare_fits(fits)
        threshold = emergence_threshold(values, self.ceiling)
        found |= {"verdict": comparison.verdict, "reason": comparison.reason, **comparison.weights}
        with suppress(InputError):  # a score that rises at once has points enough for laws before it has for an onset
            onset = onset_step(steps, values, threshold, noise=best_fit(fits).noise)
            found |= {"onset_step": onset.step, "onset_lo": onset.lo, "onset_hi": onset.hi}
        try:
            law = fit_power_law(steps, values)
        except InputError:  # less than a decade after half of the rise
            return found
        lo, hi = law.interval("exponent")
        return found | {"exponent": law.exponent, "exponent_lo": lo, "exponent_hi": hi}
