"""The terminal of a command belongs to the command."""

import logging
import subprocess
import sys
import warnings

import pytest
import yaml

from lightning_physim.cli.noise import PACKAGE, without_noise
from tests.helpers.fits import physim, without

LIGHTNING = logging.getLogger("pytorch_lightning.utilities.rank_zero")


def test_adverts_and_notices_go_and_the_rest_stays(caplog):
    with caplog.at_level("INFO"), without_noise():
        LIGHTNING.info("💡 Tip: buy this")
        LIGHTNING.info("GPU available: False, used: False")
        warnings.warn("`isinstance(treespec, LeafSpec)` is deprecated, use another", FutureWarning, stacklevel=1)
        with pytest.warns(UserWarning, match="a loss of its own"):
            warnings.warn("a loss of its own", UserWarning, stacklevel=1)
    assert caplog.messages == ["GPU available: False, used: False"]
    with pytest.warns(FutureWarning):  # everything is as it was
        warnings.warn("`isinstance(treespec, LeafSpec)` is deprecated, use another", FutureWarning, stacklevel=1)
    with caplog.at_level("INFO"):
        LIGHTNING.info("💡 Tip: buy this")
    assert caplog.messages[1:] == ["💡 Tip: buy this"]


def test_warnings_of_ours_come_without_a_path():
    before = warnings.formatwarning
    with without_noise():
        ours = warnings.formatwarning("a region fails", UserWarning, f"{PACKAGE}/callbacks/x.py", 7)
        other = warnings.formatwarning("a region fails", UserWarning, "/elsewhere/x.py", 7)
    assert ours == "a region fails\n" and "/elsewhere/x.py" in other
    assert warnings.formatwarning is before


def test_a_training_says_nothing_of_others(tmp_path, caplog):
    quick = without("emergence", "snapshots", "llc", "geometry", "probe")
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(quick))
    with caplog.at_level("INFO"):
        physim("fit", "--config=tiny.yaml", "--trainer.max_steps=1", "--wandb=false", cwd=tmp_path)
    assert caplog.messages and not any("Tip" in said or "TPU" in said for said in caplog.messages)


def test_it_costs_no_torch():
    code = "import sys, lightning_physim.cli.noise; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
