"""The pages in a real browser: drawn, alive, silent, and asking for nothing."""

import json
import os
import runpy
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lightning_physim.claims import (
    Findings,
    Peer,
    Training,
    collision_heads_exist,
    emergence_goes_with_degeneracy,
    emergence_has_a_potential,
    growth_of_used_heads,
)
from lightning_physim.emergence import growth_of_loss
from lightning_physim.report import write_report, write_reproduction, write_runs
from lightning_physim.report.animation import write_animation
from lightning_physim.report.page import page_html
from lightning_physim.report.run_page import viewer_page
from lightning_physim.report.sections import RunContent
from lightning_physim.report.style import DARK, HUES, rgb
from lightning_physim.tracking import JsonlLogger, RunDirectory
from tests.helpers.studies import a_study, flows

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--force-prefers-reduced-motion",
)  # fmt: skip
N, HEADS = 6, ("L0H0", "L0H1", "L1H0", "L1H1")
pytestmark = pytest.mark.browser


def write_run(path, seed=0):
    """A run with everything that a page shows; L0H1 comes to look at the particle that touches."""
    rng = np.random.default_rng(seed)
    run = RunDirectory(path)
    logger = JsonlLogger(run.metrics)
    steps = [0, *np.unique(np.geomspace(1, 10_000, 61).round().astype(int)).tolist()]
    for step in steps:
        grown = 1 + 8 * (1 - (1 + max(step - 10, 0) / 40) ** -1.0) + 0.01 * rng.normal()
        row = {"val/loss": 1 / grown, "val/loss_colliding": 6 / grown, "val/floor_ballistic_colliding": 6.0}
        row |= {"train/loss": 1 / grown, "rollout/mse@2": 0.1 / grown, "rollout/energy_error@2": 0.1 / grown}
        row |= {f"probe/enrichment/{head}": grown if head == "L0H1" else 1.0 + 0.1 * i for i, head in enumerate(HEADS)}
        row |= {f"probe/partner_score/{head}": 0.1 * row[f"probe/enrichment/{head}"] for head in HEADS}
        row |= {f"probe/auroc/{head}": 0.5 for head in HEADS} | {"probe/best_enrichment": grown}
        row |= {f"emergence/L0H1/exponent{end}": 1.0 + x for end, x in (("", 0), ("_lo", -0.2), ("_hi", 0.3))}
        for region in ("model", *HEADS):
            row |= {f"llc/{region}/mean": 5.0, f"llc/{region}/mcse": 0.2, f"llc/{region}/converged": 1.0}
        logger.log_metrics(row, step)
    states = np.concatenate([rng.uniform(0.1, 0.9, (2, N, 2)), rng.normal(size=(2, N, 2))], axis=-1).astype(np.float32)
    touching = np.zeros((2, N, N), bool)
    touching[0, 0, 1] = touching[0, 1, 0] = touching[1, 2, 3] = touching[1, 3, 2] = True
    truth = np.cumsum(rng.normal(0, 0.02, (2, 6, N, 2)), axis=1) + 0.5
    for step in (0, 10, 100, 10_000):
        attention = np.full((2, 2, 2, N, N), 255 // (N - 1), np.uint8)
        attention[0, :, 1, :, 1] = 51 + 204 * (step > 50)
        rollout = truth + (10_000 - step) * 1e-5
        if step == 0:
            rollout[:, 3:, 0] = np.inf
        arrays = {"attention": attention, "rollout": rollout.astype(np.float16), "truth": truth.astype(np.float16)}
        scene = {"states": states, "touching": touching, "radii": np.full(N, 0.05, np.float32)}
        scene |= {"box": np.ones(2, np.float32), "interval": np.float32(0.1), "near": np.float32(1.5)}
        logger.log_arrays("probe/snapshots", arrays | scene, step)
    distances = [[i, i + 1, 0.2, 0.1, 0.5 / (i + 1), 0.2, 0.2] for i in range(4)]
    columns = ["distance_from", "distance_to", "uniform", *HEADS]
    logger.log_table("probe/attention_distance", columns, distances, step=10_000)
    run.config.write_text(f"seed_everything: {seed}\nmodel: {{n_layers: 2, n_heads: 2, d_model: 8}}\n")
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = write_run(tmp_path_factory.mktemp("runs") / "a-run")
    write_report(run.path)
    return run


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    """``open(path, width)``: the page in a fresh window; at its end nothing may have been complained about."""
    binary, driver = (shutil.which(name) for name in ("chromium", "chromedriver"))
    if not (binary and driver):
        reason = "needs chromium and chromedriver (Debian: apt-get install chromium chromium-driver)"
        assert os.environ.get("CI") != "true", reason
        pytest.skip(reason)
    selenium = pytest.importorskip("selenium.webdriver", reason="needs selenium, of the extra `test`")
    options = selenium.ChromeOptions()
    options.binary_location = binary
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = selenium.Chrome(options=options, service=selenium.ChromeService(driver))
    yield browser
    browser.quit()


def show(browser, path, width=1280, height=900):
    """Open a page; assert that it is silent, and that nothing but the file itself was asked for."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get_log("performance")
    browser.get(path.as_uri())
    browser.execute_async_script(
        "const done = arguments[0], now = typeof drawn === 'undefined' ? Promise.resolve() : drawn;"
        "now.then(() => requestAnimationFrame(() => setTimeout(done, 100)))"
    )


def settle(browser):
    browser.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")


def pixels(browser, part):
    return browser.execute_script(f"return document.querySelector('[data-part=\"{part}\"]').toDataURL()")


def put(browser, part, value):
    """Set an input as its user would, and let the page draw."""
    browser.execute_script(
        "const e = document.querySelector(`[data-part='${arguments[0]}']`); e.value = arguments[1];"
        "e.dispatchEvent(new Event('input', {bubbles: true})); e.dispatchEvent(new Event('change', {bubbles: true}))",
        part,
        value,
    )
    settle(browser)


def complaints(browser):
    messages = [entry["message"] for entry in browser.get_log("browser")]
    return [message for message in messages if "willReadFrequently" not in message]  # it is the test that reads


@pytest.fixture
def page(chromium, run):
    show(chromium, run.report)
    yield chromium
    assert complaints(chromium) == []


def test_the_first_screen_of_a_laptop_holds_sentence_numbers_and_moving_picture(chromium, run):
    show(chromium, run.report, 1280, 800)
    bottoms = "return [...document.querySelectorAll(arguments[0])].map(e => e.getBoundingClientRect().bottom)"
    for part, n in ((".headline", 1), (".tiles div", 3), ("#viewer canvas", 3), ("#viewer button", 2)):
        found = chromium.execute_script(bottoms, part)
        assert len(found) == n and max(found) <= 800, part
    sentence = chromium.find_element("css selector", ".headline").text
    assert sentence == "1 of 4 attention heads has learned to find near particles."
    links = chromium.execute_script("return [...document.querySelectorAll('a[href]')].map(a => a.getAttribute('href'))")
    assert len(links) > 12
    assert all(chromium.execute_script("return !!document.querySelector(arguments[0])", link) for link in links)


def test_every_figure_is_drawn_and_nothing_is_asked_for(page, run):
    drawn = page.execute_script(
        "return Object.fromEntries([...document.querySelectorAll('.js-plotly-plot')].map(plot => [plot.id,"
        "plot.querySelectorAll('.scatterlayer path, .scatterlayer .point').length]))"
    )
    assert set(drawn) == {"scores", "loss", "emergence", "portrait", "llc", "attention_distance", "rollout"}
    assert drawn.pop("portrait") == 1  # one head has risen
    assert min(drawn.values()) > 1
    fits = page.execute_script("return document.getElementById('scores').data.map(trace => trace.name)")
    assert "fitted law" in fits
    entries = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    asked = {e["params"]["request"]["url"] for e in entries if e["method"] == "Network.requestWillBeSent"}
    assert {url for url in asked if not url.startswith("data:")} == {run.report.as_uri()}
    assert run.report.stat().st_size < 10e6


def test_contents_lead_to_sections_and_the_pointer_reads_all_heads_at_a_step(page):
    page.find_element("css selector", ".contents summary").click()
    links = [
        link.get_attribute("href").rpartition("#")[2] for link in page.find_elements("css selector", ".contents a")
    ]
    assert links == [part.get_attribute("id") for part in page.find_elements("css selector", "main > section")]
    page.find_element("css selector", ".contents summary").click()
    middle = page.execute_script(
        "const plot = document.querySelector('#scores .nsewdrag');"
        "plot.scrollIntoView({block: 'center', behavior: 'instant'}); const box = plot.getBoundingClientRect();"
        "return {x: box.x + box.width / 2, y: box.y + box.height / 2}"
    )
    page.execute_cdp_cmd("Input.dispatchMouseEvent", {"type": "mouseMoved", **middle})
    time.sleep(0.5)
    said = page.find_element("css selector", "#scores .hoverlayer").get_attribute("textContent")
    assert said.startswith("step ") and all(f"{head} : " in said for head in ("L0H0", "L0H1")) and "× uniform" in said


def test_the_page_of_a_training_that_goes_on_reads_itself_again(chromium, tmp_path):
    hurry = "const now = performance.now.bind(performance); performance.now = () => 50 * now();"
    script = chromium.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": hurry})
    kind = "return performance.getEntriesByType('navigation')[0].type"
    try:
        for live in (False, True):
            (tmp_path / "run.html").write_text(page_html("a run", [], "goes on", [], live=live))
            show(chromium, tmp_path / "run.html")
            time.sleep(1.5)
            assert chromium.execute_script(kind) == ("reload" if live else "navigate")
    finally:
        chromium.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)


def test_the_network_is_closed_to_scripts(chromium, run):
    show(chromium, run.report)
    answer = chromium.execute_async_script(
        "fetch('http://127.0.0.1:1/').then(arguments[0], e => arguments[0]('refused'))"
    )
    assert answer == "refused"
    assert any("Content Security Policy" in message for message in complaints(chromium))


def test_the_scrubber_moves_everything(page):
    before = {part: pixels(page, part) for part in ("attention", "rollout", "strip")}
    put(page, "step", 0)
    settle(page)
    assert "Training step 0" in page.find_element("css selector", "[data-part=now]").text
    for part, image in before.items():
        assert pixels(page, part) != image, part
    put(page, "time", 5)
    assert "has lost 1 of 6 particles" in page.find_element("css selector", "[data-part=error]").text
    (line,) = page.execute_script(
        "return document.getElementById('scores').layout.shapes.filter(s => s.yref == 'paper')"
    )
    assert line["x0"] == line["x1"] == 0.5  # where step 0 stands
    put(page, "step", 2)
    settle(page)
    (line,) = page.execute_script(
        "return document.getElementById('scores').layout.shapes.filter(s => s.yref == 'paper')"
    )
    assert line["x0"] == 100


def test_heads_states_and_particles_can_be_chosen(page):
    assert page.execute_script("return document.querySelector('[name=head]:checked').value") == "L0H1"  # the best one
    seen = {pixels(page, "attention")}
    said = page.find_element("css selector", "[data-part=say]")
    assert said.text.startswith("Particle 1 is about to touch particle 2. At step 10,000, L0H1 gives ")
    page.execute_script("document.querySelector('[value=L1H0]').click()")
    seen.add(pixels(page, "attention"))
    put(page, "from", "all")
    seen.add(pixels(page, "attention"))
    assert "from every particle" in said.text
    put(page, "from", "one")
    put(page, "scene", "1")
    seen.add(pixels(page, "attention"))
    assert said.text.startswith("Particle 3 is about to touch particle 4")
    page.find_element("css selector", "[data-part=attention]").send_keys("\ue014")  # arrow to the right
    settle(page)
    seen.add(pixels(page, "attention"))
    assert said.text.startswith("Particle 4 is about to touch particle 3")
    put(page, "path", "1")
    assert len(seen) == 5


def test_lines_have_the_colour_of_the_head(page):
    """More of the canvas is in the head's colour when its weight is on one near particle than when it is spread."""
    count = (
        "const c = document.querySelector('[data-part=attention]'),"
        "d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; let n = 0;"
        "for (let i = 0; i < d.length; i += 4) n += Math.abs(d[i]-0xd5)+Math.abs(d[i+1]-0x5e)+Math.abs(d[i+2]) < 60;"
        "return n"
    )
    late = page.execute_script(count)
    put(page, "step", 0)
    early = page.execute_script(count)
    page.execute_script("document.querySelector('[value=L0H0]').click()")
    assert late > 1.2 * early and page.execute_script(count) < 0.1 * early


def test_the_viewer_works_in_the_narrowest_sandbox_that_runs_scripts(chromium, run, tmp_path):
    """An origin of its own and no other permission, as a page of somebody else's is shown inside a page."""
    (tmp_path / "viewer.html").write_text(viewer_page(RunContent(run)))
    host = tmp_path / "host.html"
    host.write_text('<iframe sandbox="allow-scripts" src="viewer.html" width="900" height="800"></iframe>')
    show(chromium, host)
    chromium.switch_to.frame(0)
    try:
        seen = pixels(chromium, "attention"), pixels(chromium, "rollout"), pixels(chromium, "strip")
        put(chromium, "step", 0)
        settle(chromium)
        assert "Training step 0" in chromium.find_element("css selector", "[data-part=now]").text
        later = pixels(chromium, "attention"), pixels(chromium, "rollout"), pixels(chromium, "strip")
        assert all(before != after for before, after in zip(seen, later, strict=True))
        assert chromium.execute_script("return self.origin") == "null"
    finally:
        chromium.switch_to.default_content()
    assert complaints(chromium) == []


def test_training_and_rollouts_play_only_when_asked_where_motion_is_unwanted(page):
    still = pixels(page, "rollout")
    time.sleep(0.3)
    assert pixels(page, "rollout") == still
    page.find_element("css selector", "[data-part=play-rollout]").click()
    time.sleep(0.4)
    assert pixels(page, "rollout") != still
    page.find_element("css selector", "[data-part=play-steps]").click()
    time.sleep(1.5)
    assert "Training step 10,000" in page.find_element("css selector", "[data-part=now]").text
    labels = [page.find_element("css selector", f"[data-part={name}]").get_attribute("aria-label") for name in
              ("play-steps", "play-rollout")]  # fmt: skip
    assert labels == ["Play the training", "Pause"]


@pytest.mark.parametrize("width", [375, 1280, 1920])
def test_no_page_is_wider_than_its_window(chromium, run, width):
    show(chromium, run.report, width)
    assert chromium.execute_script("return document.documentElement.scrollWidth") <= width
    boxes = chromium.execute_script(
        "return [...document.querySelectorAll('canvas')].map(c => [c.getBoundingClientRect().right, c.clientWidth])"
    )
    assert all(right <= width and size > 150 for right, size in boxes)
    assert complaints(chromium) == []


def test_no_word_of_a_figure_is_cut_on_a_telephone(chromium, run):
    show(chromium, run.report, 375)
    cut = chromium.execute_script(
        "return [...document.querySelectorAll('.js-plotly-plot text')].filter(e => {"
        "const box = e.getBoundingClientRect(), plot = e.closest('.js-plotly-plot').getBoundingClientRect();"
        "return box.width && (box.left < plot.left - 1 || box.right > plot.right + 1)}).map(e => e.textContent)"
    )
    assert cut == []
    assert chromium.execute_script("return document.querySelector('.modebar-container').clientHeight") == 0
    assert complaints(chromium) == []


@pytest.mark.parametrize(
    ("media", "paper", "ink"),
    [("", "rgb(20, 22, 26)", "rgb(236, 234, 228)"), ("print", "rgb(255, 255, 255)", "rgb(36, 38, 43)")],
)
def test_dark_pages_are_dark_and_printed_ones_are_not(chromium, run, media, paper, ink):
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": dark})
    try:
        show(chromium, run.report)
        found = chromium.execute_script(
            "const of = (part, name) => getComputedStyle(document.querySelector(part))[name];"
            "return [of('body', 'backgroundColor'), of('#scores .xtick text', 'fill'),"
            "of('.modebar-container', 'display')]"
        )
        assert found == [paper, ink, "none" if media else "block"]
    finally:
        chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
    assert complaints(chromium) == []


def test_a_printed_figure_is_as_wide_as_the_text_and_two_fit_on_a_page(chromium, run):
    show(chromium, run.report)
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": []})
    try:
        found = chromium.execute_script(
            "dispatchEvent(new Event('beforeprint'));"
            "return [...document.querySelectorAll('figure:has(.main-svg)')].filter(e => e.clientHeight).map(e => {"
            "const box = e.querySelector('.main-svg').getBoundingClientRect();"
            "return [box.width, box.height, e.querySelector('.captions').getBoundingClientRect().top - box.bottom]})"
        )
    finally:
        chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
        chromium.execute_script("dispatchEvent(new Event('afterprint'))")
    width, height, gap = np.transpose(found)
    assert width == pytest.approx(680, abs=2)
    assert height[0] < 340 and height.max() < 900  # of the 950 pixels of a sheet of US letter
    assert gap.max() < 20
    assert complaints(chromium) == []


def test_a_run_without_attention_shows_its_rollouts(chromium, tmp_path):
    run = write_run(tmp_path / "blind")
    for path in (run.figures / "probe_snapshots").iterdir():
        with np.load(path) as arrays:
            kept = {name: arrays[name] for name in arrays if name != "attention"}
        np.savez(path, **kept)
    rows = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    rows = [{k: v for k, v in row.items() if not k.startswith(("probe", "emergence", "llc"))} for row in rows]
    run.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
    show(chromium, write_report(run.path))
    assert not chromium.find_elements("css selector", "[data-part=attention]")
    before = pixels(chromium, "rollout")
    put(chromium, "step", 1)
    assert pixels(chromium, "rollout") != before
    assert complaints(chromium) == []


def test_runs_are_laid_over_each_other(chromium, run, tmp_path):
    other = write_run(tmp_path / "other", seed=1)
    show(chromium, write_runs(tmp_path / "out" / "seeds.html", [run, other]), 375)
    drawn = chromium.execute_script(
        "return [...document.querySelectorAll('.js-plotly-plot')].map(p => p.querySelectorAll('.lines > path').length)"
    )
    assert drawn == [3, 3, 3]  # both, and the median
    assert chromium.execute_script("return document.documentElement.scrollWidth") <= 375
    assert complaints(chromium) == []


@pytest.mark.parametrize("width", [375, 1280])
def test_the_page_of_the_claims_draws_every_figure(chromium, tmp_path, width):
    flow = flows(["logistic", "cubic"], n_seeds=2)
    study = replace(a_study(3), flow=flow.flow, flow_fine=flow.flow_fine)
    seeds = {f"seed {number}": metrics for number, metrics in study.seeds.items()}
    growth = [row for name, metrics in seeds.items() for row in growth_of_used_heads(name, metrics)]
    losses = [growth_of_loss(metrics, name) for name, metrics in seeds.items()]
    claims = (
        collision_heads_exist(study),
        emergence_goes_with_degeneracy(study),
        emergence_has_a_potential(study),
    )
    findings = Findings(
        study=study,
        seeds=seeds,
        claims=claims,
        growth=growth,
        losses=losses,
        peers=[Peer("transformer", (0.1, 0.2, 0.3), (0.4, 0.5), 19684, 120.0, n=3)],
        horizon=20,
        trainings=[
            Training("seed", 0, "finished", "../seed-0/report.html"),
            Training("permuted", 0, "finished", metrics=study.permuted[0]),
            Training("flow", 0, "started"),
        ],
    )
    show(chromium, write_reproduction(tmp_path / "claims.html", "a study", ["3 seeds"], findings, ""), width)
    drawn = chromium.execute_script(
        "return Object.fromEntries([...document.querySelectorAll('.js-plotly-plot')].map(plot => [plot.id,"
        "plot.querySelectorAll('.point, .scatterlayer path, .heatmaplayer image').length]))"
    )
    assert set(drawn) == {"heads", "geometry", "timing", "laws", "collapse", "exponents", "flow"}
    beside = chromium.execute_script(
        "const axes = document.getElementById('geometry').layout; return axes.xaxis2.domain[0] > 0.5"
    )
    assert beside == (width > 600)  # on a telephone one below the other
    ticks = "return document.querySelectorAll('#exponents .xtick').length"
    assert chromium.execute_script(ticks) > 3
    assert (
        drawn["heads"] > 3 * 16 and drawn["geometry"] >= 3 * 24 and drawn["exponents"] >= 12 and drawn["laws"] == 1 + 12
    )
    shown = chromium.find_element("css selector", "body").text
    for claim in claims:
        assert claim.verdict in shown and claim.statement in shown
        assert all(reason[1:] in shown for reason in claim.reasons)
    assert chromium.execute_script("return document.documentElement.scrollWidth") <= width
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": dark})
    dot = "return getComputedStyle(document.querySelector('.seed span')).color"
    try:
        assert chromium.execute_script(dot) == "rgb({}, {}, {})".format(*rgb(DARK[HUES[0]]))  # as the point in figures
    finally:
        chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
    assert complaints(chromium) == []


def test_the_pages_of_the_gallery_are_drawn_in_silence(chromium, tmp_path):
    make = Path(__file__).parents[2] / "docs" / "gallery" / "pages.py"
    pages = runpy.run_path(str(make))["write_gallery"](tmp_path)
    assert {path.stem for path in pages} == {"demo", "smoke", "comparison", "reproduction", "map"}
    for path in pages:
        show(chromium, path)
        assert chromium.execute_script("return document.querySelectorAll('.js-plotly-plot').length") > 0, path.name
        assert complaints(chromium) == [], path.name
        assert path.stat().st_size < 4e6


def test_discs_are_touching_only_where_they_touch(chromium, tmp_path):
    positions = np.full((3, 3, 2), 0.5)
    positions[:, :, 0] = [[0.2, 0.9, 0.5], [0.4, 0.6, 0.5], [0.25, 0.8, 0.5]]  # the first two meet at the second time
    positions[:, 2, 1] = 0.9
    colliding = np.array([[True, True, False], [False, False, False]])
    page = tmp_path / "box.html"
    write_animation(page, positions, (1.0, 1.0), np.full(3, 0.1), colliding, 0.1, "three discs")
    show(chromium, page)
    colour = (
        "seek(arguments[0]); const c = document.querySelector('canvas'), g = c.getContext('2d');"
        "const at = ([x, y]) => [...g.getImageData(x * c.width, (1 - y) * c.height, 1, 1).data.slice(0, 3)];"
        "return arguments[1].map(at)"
    )
    blue, orange = [0, 114, 178], [230, 159, 0]
    assert chromium.execute_script(colour, 0, [[0.2, 0.5], [0.9, 0.5], [0.5, 0.9]]) == [blue] * 3
    assert chromium.execute_script(colour, 1, [[0.4, 0.5], [0.6, 0.5], [0.5, 0.9]]) == [orange, orange, blue]
    button = chromium.find_element("css selector", "[data-part=play]")
    button.click()
    assert button.get_attribute("aria-label") == "Pause"
    chromium.find_element("css selector", "body").send_keys(" ")
    assert button.get_attribute("aria-label") == "Play"
    assert complaints(chromium) == []
