"""Loggers of others get figures and tables in the form that they take, and names that they do not refuse."""

import gc
import sys
import weakref
from types import SimpleNamespace

import plotly.graph_objects as go
import pytest
from pytorch_lightning.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from lightning_physim.loggers import log_configuration, log_row, run_loggers
from lightning_physim.loggers.foreign import markdown_table, pictures, still

FIGURE = go.Figure(go.Scatter(x=[1, 2], y=[3, 4]))


class Calls:
    """Takes every call, and remembers it."""

    def __init__(self) -> None:
        self.calls: list[tuple] = []

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *args, **kwargs: self.calls.append((name, *args, *kwargs.items()))


class Bare(Logger):
    """Lightning's least."""

    name = version = ""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[tuple] = []

    def log_metrics(self, metrics, step=None):
        self.taken.append((metrics, step))

    def log_hyperparams(self, params):
        self.taken.append((params,))


class Sink(Bare):
    """A logger of a user's own, which knows nothing of this package."""

    def log_figure(self, key, figure, step):
        self.taken.append((key, figure, step))

    def log_table(self, key, columns, data, step=None):
        raise ConnectionError("no\nserver")


def pretend(kind: type[Logger], **members) -> Logger:
    """A logger of a class without what it needs to be made."""
    members = {"__init__": lambda self: None, "__hash__": object.__hash__, **members}
    return type(kind.__name__, (kind,), members)()


def test_a_sink_of_a_users_own_gets_figures_and_what_it_cannot_take_costs_one_line(capsys, caplog):
    sink, bare = Sink(), Bare()
    assert run_loggers([bare, CSVLogger]) == []
    with caplog.at_level("INFO", logger="pytorch_lightning"):
        for _ in range(2):
            (media,) = run_loggers([bare, sink])
            media.log_figure("report/loss", FIGURE, 5)
            media.log_figures({"report/scores": FIGURE}, 6)
            media.log_table("report/heads", ["a"], [[1.0]], 6)
    assert [(key, step) for key, _, step in sink.taken] == 2 * [("report/loss", 5), ("report/scores", 6)]
    said = [record.getMessage() for record in caplog.records]
    assert said == ["Sink goes without tables, training goes on: no server"]
    assert media.shows_report and media.seconds > 0


def test_nothing_is_kept_of_a_logger_that_is_gone():
    sink = Sink()
    (media,) = run_loggers([sink])
    media.log_figure("report/loss", FIGURE, 5)
    gone = weakref.ref(sink)
    del sink, media
    gc.collect()
    assert gone() is None


def test_mlflow_gets_an_artifact_of_every_step_and_no_name_that_it_refuses():
    client = Calls()
    logger = pretend(
        MLFlowLogger,
        experiment=client,
        run_id="r",
        log_metrics=lambda self, metrics, step: client.calls.append((metrics, step)),
        log_hyperparams=lambda self, params: client.calls.append(params),
    )
    (media,) = run_loggers([logger])
    media.log_figure("report/loss", FIGURE, 5)
    media.log_page("report/viewer", "<p>", 5)
    media.log_table("llc/trace", ["a", "b"], [[1, 2], [3, 4]], 5)
    media.log_report("runs/a/report.html", 5)
    log_row([logger], {"rollout/mse@5": 1.0, "llc/L0H1/mean": 2.0}, 7)
    log_configuration([logger], {"metrics": {"probe/auroc/*": {"unit": "1"}}})
    assert client.calls == [
        ("log_figure", "r", FIGURE, "report/loss/step-00000005.html"),
        ("log_text", "r", "<p>", "report/viewer/step-00000005.html"),
        ("log_table", "r", {"a": [1, 3], "b": [2, 4]}, "llc/trace/step-00000005.json"),
        ("log_artifact", "r", "runs/a/report.html"),
        ({"rollout/mse_5": 1.0, "llc/L0H1/mean": 2.0}, 7),
        {"metrics": {"probe/auroc/_": {"unit": "1"}}},
    ]


def test_every_other_logger_gets_names_as_they_are():
    bare = Bare()
    log_row([bare], {"rollout/mse@5": 1.0}, 7)
    log_configuration([bare], {"metrics": {"a/*": 1}})
    assert bare.taken == [({"rollout/mse@5": 1.0}, 7), ({"metrics": {"a/*": 1}},)]


def test_wandb_of_lightning_draws_plotly_figures_itself():
    rows, run = Calls(), Calls()
    run.id = "abc"
    logger = pretend(
        WandbLogger,
        experiment=run,
        log_metrics=staticmethod(rows.log_metrics),
        log_table=staticmethod(rows.log_table),
    )
    (media,) = run_loggers([logger])
    media.log_figure("report/loss", FIGURE, 5)
    media.log_table("llc/trace", ["a"], [[1]], 5)
    media.log_report("report.html", 5)
    assert rows.calls == [
        ("log_metrics", {"report/loss": FIGURE}, 5),
        ("log_table", "llc/trace", ["a"], [[1]], ("step", 5)),
    ]
    assert run.calls == [("log_artifact", "report.html", ("name", "report-abc"), ("type", "report"))]


def test_tensorboard_gets_tables_as_text_and_pictures_if_there_is_something_that_draws_them(monkeypatch, caplog):
    writer = Calls()
    logger = pretend(TensorBoardLogger, experiment=writer)
    (media,) = run_loggers([logger])
    media.log_table("llc/trace", ["a", "b"], [[0.123456, None], ["x|y", 3]], 5)
    text = "| a | b |\n| --- | --- |\n| 0.1235 |  |\n| x\\|y | 3 |"
    assert writer.calls == [("add_text", "llc/trace", text, 5)]
    assert text == markdown_table(["a", "b"], [[0.123456, None], ["x|y", 3]])
    monkeypatch.setitem(sys.modules, "kaleido", None)
    with caplog.at_level("INFO", logger="pytorch_lightning"):
        media.log_figure("report/loss", FIGURE, 5)
        media.log_figures({"report/loss": FIGURE}, 6)
    (record,) = caplog.records
    assert "pip install kaleido" in record.getMessage()
    assert len(writer.calls) == 1


def test_other_ranks_log_nothing(monkeypatch):
    from pytorch_lightning.utilities import rank_zero_only

    sink = Sink()
    (media,) = run_loggers([sink])
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    media.log_figure("report/loss", FIGURE, 5)
    assert sink.taken == []


def test_a_figure_that_moves_stands_still_at_its_last_frame():
    moving = go.Figure(
        data=[go.Scatter(x=[0], y=[0]), go.Scatter(x=[5], y=[5])],
        layout={"updatemenus": [{"buttons": []}], "sliders": [{}], "title": {"text": "t"}},
        frames=[go.Frame(data=[go.Scatter(x=[i], y=[i])], traces=[1]) for i in (6, 7)],
    )
    last = still(moving)
    assert [trace.x for trace in last.data] == [(0,), (7,)]
    assert not last.layout.sliders and not last.layout.updatemenus and last.layout.title.text == "t"
    assert moving.data[1].x == (5,) and still(FIGURE) is FIGURE


@pytest.mark.browser
def test_pictures_are_drawn_on_white():
    figure = go.Figure(go.Scatter(x=[1, 2], y=[3, 4], line={"color": "#ff0000"}))
    figure.update_layout(height=300, paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)")
    drawn = pictures({"a": figure, "b/c": figure})
    assert list(drawn) == ["a", "b/c"]
    image = drawn["b/c"]
    assert image.shape == (300, 1000, 3) and image.dtype == "uint8"
    assert (image[0, 0] == 255).all() and ((image[..., 0] > 200) & (image[..., 1] < 50)).sum() > 100


def test_a_logger_is_asked_by_what_it_is():
    assert run_loggers([SimpleNamespace()]) == []
