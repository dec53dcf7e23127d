"""``physim simulate``: the data set, its description, the animation, and one line for what is wrong."""

import base64
import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest

from lightning_physim.cli import main
from lightning_physim.cli.simulate import simulate
from lightning_physim.data import ParticleDataModule
from lightning_physim.errors import InputError
from lightning_physim.report.animation import animation_html, write_animation

CONFIG = """
seed_everything: 3
model: {n_layers: 1}
data:
  system: {n_particles: 6, box: [1.0, 0.8], radius: 0.08, restitution: 0.8, gravity: 1.0, interval: 0.05}
  velocity_std: 0.7
  n_intervals: 10
  n_train: 5
  n_val: 4
  n_test: 2
  ood: {}
"""


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "tiny.yaml"
    path.write_text(CONFIG)
    return str(path)


def test_makes_describes_and_animates(config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "out" / "a.html"
    cache = f"--data.cache_dir={tmp_path / 'cache'}"
    drawing = [f"--animate={page}", "--split=val", "--system_index=2"]
    simulate(["--config", config, cache, "--data.n_val=3", *drawing])
    printed = capsys.readouterr()
    assert re.search(r"^train +5 +10 +6 ", printed.out, re.MULTILINE)
    assert re.search(r"^val +3 +10 +6 ", printed.out, re.MULTILINE)  # the option wins over the file
    assert "ood_" not in printed.out
    assert printed.err.count("making data: 100%") == 1  # one bar for all splits
    text = page.read_text()
    assert "http" not in text and "6 particles · 10 intervals of 0.05" in text
    (val,) = (tmp_path / "cache").glob("val-*")
    data = json.loads(text.split("const data = ")[1].split(";\n")[0])
    drawn = data["low"] + data["scale"] * np.frombuffer(base64.b64decode(data["positions"]), "<u2").reshape(11, 6, 2)
    np.testing.assert_allclose(drawn, np.load(val / "states.npy")[2, ..., :2], atol=1e-5)
    starts, pairs = np.load(val / "contact_starts.npy")[20:31], np.load(val / "contact_pairs.npy")
    touching = [sorted({*pairs[a:b].ravel().tolist()}) for a, b in itertools.pairwise(starts)]
    assert any(touching) and data["colliding"] == touching
    assert data["box"] == [1.0, 0.8]

    simulate(["--config", config, cache, "--data.n_val=3"])
    assert "%" not in capsys.readouterr().err  # nothing to make: no progress bar


def test_without_a_configuration_it_is_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(ParticleDataModule, "prepare_data", lambda self: seen.append(self))
    with pytest.raises(InputError, match="prepare_data"):
        simulate(["--data.system.gravity=0.5", "--data.cache_dir=/nonexistent"])
    (data,) = seen
    assert data.system.n_particles == 16 and data.system.radius == 0.05 and data.system.gravity == 0.5


WRONG = [
    (["--data.n_train=many"], "data.n_train.*many"),
    (["--data.n_train=0"], "n_train must be at least 1"),
    (["--data.speed=1"], "data.speed"),
    (["--data.system.restitution=2"], "restitution must be at most 1"),
    (["--data.integrator=euler"], "averaged.*euler"),
    (["--config"], "config"),
    (["--config=nowhere"], "--config takes a file or one of demo"),
    (["--config={tmp}/broken.yaml"], "must be YAML; got"),
    (["--config={tmp}/list.yaml"], "must have sections"),
    (["--animate={tmp}/a.html", "--split=training"], "--split is one of train, val, test; got training"),
    (["--animate={tmp}/a.html", "--system_index=4"], "--system_index is 0 to 3 in split val; got 4"),
    (["--animate={tmp}/tiny.yaml/a.html"], "--animate=elsewhere.html"),
    (["--data.cache_dir={tmp}/tiny.yaml/cache"], "--data.cache_dir="),
    (["stray"], "stray"),
]


@pytest.mark.parametrize(("options", "message"), WRONG, ids=lambda case: str(case))
def test_what_is_wrong_is_one_line(config: str, tmp_path: Path, options: list[str], message: str, capsys) -> None:
    (tmp_path / "broken.yaml").write_text("data: {")
    (tmp_path / "list.yaml").write_text("[1, 2]")
    given = [option.replace("{tmp}", str(tmp_path)) for option in options]
    assert main(["simulate", f"--config={config}", f"--data.cache_dir={tmp_path / 'cache'}", *given]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("physim: ")]
    assert len(lines) == 1 and re.search(message, lines[0])


def test_help_tells_units_and_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        simulate(["--help"])
    assert ended.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "--data.system.radius" in text and "--animate" in text
    assert "trajectories in the training split. (type: int, default: 4000)" in text


def test_an_animation_refuses_what_it_cannot_draw(tmp_path: Path) -> None:
    positions, radii, colliding = np.zeros((3, 2, 2)), np.ones(2), np.zeros((2, 2), dtype=bool)
    page = animation_html(positions, (1.0, 1.0), radii, colliding, 0.1, "a </script> & b")
    assert "a &lt;/script&gt; &amp; b" in page and page.count("</script>") == 1
    with pytest.raises(InputError, match=r"colliding must have the shape \(2, 2\); got \(3, 2\)"):
        animation_html(positions, (1.0, 1.0), radii, np.zeros((3, 2), dtype=bool), 0.1, "")
    positions[1, 1, 1] = np.nan
    with pytest.raises(InputError, match="finite"):
        write_animation(tmp_path / "a.html", positions, (1.0, 1.0), radii, colliding, 0.1, "")
