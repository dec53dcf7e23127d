"""The pictures of pages: ``python docs/screenshots.py RUN``, with a finished run of ``demo``.

``report-top.png`` is the first screen of its report, ``report-viewer.png`` the viewer in the middle of training.
``results/claims.png`` is the top of the gallery's reproduction. It needs Chromium, selenium of the extra ``test``, and
pandas of the extra ``docs``.
"""

import argparse
import shutil
from base64 import b64decode
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gallery.pages import reproduction_page
from selenium import webdriver

from lightning_physim.report import write_report

FOLDER = Path(__file__).parent
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--force-prefers-reduced-motion")
WIDTH, HEIGHT, EDGE = 1280, 800, 12
MIDDLE = 316
"""Training step of the second picture, at which the first heads have emerged."""
CHOOSE = """
const put = (name, value) => {
  const element = document.querySelector(`[data-part="${name}"]`);
  element.value = value;
  for (const kind of ["input", "change"]) element.dispatchEvent(new Event(kind, {bubbles: true}));
};
const steps = JSON.parse(document.getElementById("viewer-data").textContent).steps;
put("step", steps.indexOf(arguments[0]));
put("from", "all");
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python docs/screenshots.py", description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="directory of a finished run of demo")
    options = webdriver.ChromeOptions()
    for flag in (*FLAGS, f"--window-size={WIDTH},{HEIGHT}"):
        options.add_argument(flag)
    run = parser.parse_args().run
    options.binary_location = shutil.which("chromium") or ""  # or selenium looks for one on the network
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        with TemporaryDirectory() as folder:
            show(browser, write_report(run, Path(folder) / "report.html"))
            picture(browser, "report-top", {"x": 0, "y": 0, "width": WIDTH, "height": HEIGHT})
            browser.execute_script(CHOOSE, MIDDLE)
            box = browser.execute_script("return document.getElementById('viewer').getBoundingClientRect().toJSON()")
            clip = {"x": box["x"] - EDGE, "y": box["y"] - EDGE}
            clip |= {"width": box["width"] + 2 * EDGE, "height": box["height"] + 2 * EDGE}
            picture(browser, "report-viewer", clip)
            show(browser, reproduction_page(Path(folder) / "reproduction.html"))
            bottom = browser.execute_script("return document.getElementById('heads').getBoundingClientRect().bottom")
            picture(browser, "results/claims", {"x": 0, "y": 0, "width": WIDTH, "height": bottom})
    finally:
        browser.quit()


def show(browser: webdriver.Chrome, page: Path) -> None:
    """Open a page and wait until its figures are drawn."""
    browser.set_script_timeout(30)
    browser.get(page.as_uri())
    browser.execute_async_script("drawn.then(() => arguments[0]())")


def picture(browser: webdriver.Chrome, name: str, clip: dict[str, Any]) -> None:
    """What stands in a rectangle of the page, once nothing moves any more."""
    browser.execute_async_script("setTimeout(arguments[0], 2000)")
    shot = browser.execute_cdp_cmd(
        "Page.captureScreenshot", {"format": "png", "captureBeyondViewport": True, "clip": clip | {"scale": 1}}
    )
    (FOLDER / f"{name}.png").write_bytes(b64decode(shot["data"]))


if __name__ == "__main__":
    main()
