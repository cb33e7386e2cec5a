"""Take the pictures of a page that the README shows: on a desk, in the dark, on a phone.

    python docs/screenshots.py --page results/report.html --output docs

It needs the Chromium of the system (apt-get install chromium).
"""

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
DESK, PHONE = {"width": 1280, "height": 1000}, {"width": 390, "height": 844}
# By the name of the picture: what the browser is like, and what is at the top of the view.
PICTURES: dict[str, tuple[dict[str, Any], str]] = {
    "report-desktop": ({"viewport": DESK}, "#verdicts"),
    "report-dark": ({"viewport": DESK, "color_scheme": "dark"}, "#figures"),
    "report-phone": ({"viewport": PHONE, "device_scale_factor": 2}, "#verdicts"),
}
SETTLED_MS = 800  # until figures are drawn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", type=Path, default=Path("results/report.html"))
    parser.add_argument("--output", type=Path, default=Path("docs"), help="directory")
    args = parser.parse_args()
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        sys.exit("error: no Chromium: install the Debian package chromium")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        for name, (options, top) in PICTURES.items():
            take(browser, args.page, args.output / f"{name}.png", options, top)
        browser.close()


def take(browser: Browser, page: Path, picture: Path, options: dict[str, Any], top: str) -> None:
    """Take one picture of a page, scrolled to an element."""
    tab = browser.new_context(reduced_motion="reduce", **options).new_page()
    tab.goto(page.resolve().as_uri())
    # The header stays at the top of the view, and covers what is below it.
    tab.locator(top).evaluate(
        "(place) => scrollTo(0, place.offsetTop - document.querySelector('header').offsetHeight)"
    )
    tab.wait_for_timeout(SETTLED_MS)
    tab.screenshot(path=picture)


if __name__ == "__main__":
    main()
