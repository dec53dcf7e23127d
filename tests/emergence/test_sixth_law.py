"""A law that is added is fitted, compared and shown in the table of the monitor."""

import numpy as np

from lightning_physim.callbacks.emergence_monitor import columns
from lightning_physim.emergence import LAWS, Law, Shape, compare_growth_laws, label
from tests.helpers.growth import STEPS, correlated


def test_a_sixth_law_is_compared_and_has_its_column(monkeypatch):
    def sudden(t, time):
        return (t < time).astype(float)

    monkeypatch.setitem(LAWS, "jump", Law("jump", sudden, {"time": Shape(1e-4, 1.0, time=True, n=200)}))
    assert "jump" in columns() and label("jump") == "jump"
    values = 0.1 + 0.8 * (STEPS > 1000) + correlated(np.random.default_rng(0), 0.0, 0.01)
    assert compare_growth_laws(STEPS, values, rise=0.0).best == "jump"
