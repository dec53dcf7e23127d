"""The chart of estimates with error bands: W&B's own line plots have bands over runs, and none within one."""

import hashlib
import json
from typing import Any

from lightning_physim import keys

FILLED = {name: f"${{field:{name}}}" for name in keys.ESTIMATE_COLUMNS}
"""What a panel replaces by the columns of its table."""
TITLE_STRING = "title"
"""What a panel replaces by a text."""
_MEAN = {"field": FILLED["mean"], "type": "quantitative"}
SPECIFICATION: dict[str, Any] = {
    "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
    "title": f"${{string:{TITLE_STRING}}}",
    "data": {"name": "wandb"},
    "encoding": {
        "x": {"field": FILLED["step"], "type": "quantitative", "scale": {"type": "log"}, "title": "training step"},
        "color": {"field": FILLED["region"], "type": "nominal", "title": None},
    },
    "layer": [
        {
            "mark": {"type": "area", "opacity": 0.25},
            "encoding": {"y": {"field": FILLED["low"], "type": "quantitative"}, "y2": {"field": FILLED["high"]}},
        },
        {"mark": "line", "encoding": {"y": _MEAN | {"title": "estimate, with two standard errors either way"}}},
        {
            "mark": {"type": "point", "filled": True},
            "encoding": {
                "y": _MEAN,
                "opacity": {
                    "field": FILLED["converged"],
                    "type": "quantitative",
                    "scale": {"domain": [0, 1], "range": [0.3, 1]},
                    "legend": None,
                },
                "tooltip": [{"field": field, "title": name} for name, field in FILLED.items()],
            },
        },
    ],
}
"""Vega-Lite, as W&B takes it: a line per region over the training step, in a band from ``low`` to ``high``. Estimates
that failed a diagnostic are pale."""
CHART = f"physim-error-bands-{hashlib.sha256(json.dumps(SPECIFICATION).encode()).hexdigest()[:6]}"
"""Its name in W&B. It tells what it holds, so that what is stored under a name never changes."""
