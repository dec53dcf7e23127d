"""A machine that knows no W&B account."""

import pytest

from lightning_physim.tracking.wandb_service import end_service
from tests.helpers.processes import clear_environment


@pytest.fixture
def no_key(tmp_path, monkeypatch):
    """A home without credentials, a server that nobody runs, and a wandb that has read nothing else yet."""
    clear_environment(monkeypatch)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("NETRC", str(home / ".netrc"))
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.chdir(tmp_path)
    end_service()
    yield home
    end_service()
