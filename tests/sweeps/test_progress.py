"""How far a sweep has come."""

from lightning_physim.sweeps.progress import SweepBar


def test_what_is_left_takes_the_mean_of_what_has_ended_on_all_jobs():
    bar = SweepBar(total=9, left=5, jobs=2)
    assert bar.ended(60.0) == "; 4 left, about 2 min"
    assert bar.ended(30.0) == "; 3 left, about 1 min"
    assert bar.ended(0.0) == "; 2 left, about 30 s"
    assert bar.ended(10.0) == "; 1 left, about 25 s"  # alone, whatever the jobs
    assert bar.ended(10.0) == ""


def test_a_bar_shows_the_steps_of_running_trials_to_whoever_watches(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    (tmp_path / "metrics.jsonl").write_text('{"step": 1234}\n')
    bar = SweepBar(total=4, left=3, jobs=1)
    bar.show({"trial 1": tmp_path / "metrics.jsonl"})
    bar.close()
    said = capsys.readouterr().err
    assert "1/4" in said and "trial 1: step 1,234" in said
