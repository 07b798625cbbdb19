"""Make the pictures of docs/images again, from a pilot on the example: .venv/bin/python scripts/take_pictures.py PILOT

The pilot is only read: its loop runs once more, on data of its own (two minutes on two cores). It needs Chromium, and
libfaketime for the front page. Look at every picture before you commit it.
"""

import html
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
TERMINAL = """<!doctype html><meta charset="utf-8"><style>
  body { margin: 0; background: #1c1b20; color: #e4e4e4 }
  pre { display: inline-block; margin: 0; padding: 18px 22px; font: 14px/1.45 "DejaVu Sans Mono", monospace }
  .c1 { font-weight: bold } .c2 { opacity: 0.5 } .c31 { color: #f87171 } .c32 { color: #86d36b } .c33 { color: #e8b458 }
  .c34 { color: #6aa8f0; font-weight: bold }
</style><pre>%s</pre>"""


def as_html(text: str) -> str:
    """A terminal's text, with its colours as classes."""
    parts = re.split(r"\x1b\[([0-9;]*)m", text)
    shown = html.escape(parts[0])
    for codes, piece in zip(parts[1::2], parts[2::2], strict=True):
        classes = " ".join(f"c{code}" for code in codes.split(";"))
        shown += f'<span class="{classes}">{html.escape(piece)}</span>'
    return shown


def take_loop(page: Page, pilot: Path, data: Path) -> None:
    done = subprocess.run(
        [pilot / ".venv/bin/groundwork", "up", "--once"],
        cwd=pilot,
        env=os.environ | {"GROUNDWORK_DATA": str(data), "FORCE_COLOR": "1", "TTY_INTERACTIVE": "0"},
        text=True,
        capture_output=True,
    )
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    printed = re.sub(r"(\x1b\[\?25[lh])+\n?", "", done.stdout)  # the cursor, hidden and shown
    printed = printed.replace(str(data), "/home/ada/late-flights/data").rstrip()
    printed = re.sub(r"http://127\.0\.0\.1:\d+", "http://127.0.0.1:8000", printed)
    page.set_content(TERMINAL % as_html(f"\x1b[34m$\x1b[0m uv run groundwork up --once\n{printed}"))
    page.locator("pre").screenshot(path=IMAGES / "loop.png")


def take_drift_report(page: Page, data: Path) -> None:
    [report] = (data / "reports").glob("drift-*.html")
    page.goto(report.as_uri())
    page.get_by_text("distance_miles").first.wait_for()
    page.screenshot(path=IMAGES / "drift-report.png")


def take_scorecard(page: Page, pilot: Path, data: Path) -> None:
    environment = os.environ | {"GROUNDWORK_DATA": str(data)}
    report = data / "scorecard"
    command = [pilot / ".venv/bin/groundwork", "readiness", "--report", str(report)]
    subprocess.run(
        command, cwd=pilot, env=environment, stdout=subprocess.DEVNULL
    )  # ends with 3: no criteria are sealed
    page.goto((report / "scorecard.html").as_uri())
    page.screenshot(path=IMAGES / "scorecard.png")


def take_front_page(pilot: Path) -> None:
    """By the test that reads it: the page of a pilot on its 45th day."""
    test = "tests/test_readiness.py::test_the_front_page_tells_how_the_pilot_is"
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"PILOT": str(pilot), "SCREENSHOTS": folder}
        subprocess.run(
            [sys.executable, "-m", "pytest", "-q", test, "-k", "desk"], cwd=ROOT, env=environment, check=True
        )
        shutil.copy(Path(folder) / "front-page.png", IMAGES)


def take_fleet() -> None:
    """By the test that reads it: a page of four pilots."""
    with tempfile.TemporaryDirectory() as folder:
        test = "tests/test_fleet.py::test_everybody_can_read_the_page"
        environment = os.environ | {"SCREENSHOTS": folder}
        subprocess.run(
            [sys.executable, "-m", "pytest", "-q", test, "-k", "desk and light"], cwd=ROOT, env=environment, check=True
        )
        shutil.copy(Path(folder) / "fleet.png", IMAGES)


def main() -> None:
    pilot = Path(sys.argv[1]).resolve()
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=found)
        page = browser.new_page(viewport={"width": 1200, "height": 1000})
        data = Path(folder) / "data"
        data.mkdir()
        take_loop(page, pilot, data)
        take_drift_report(page, data)
        take_scorecard(page, pilot, data)
        browser.close()
    take_front_page(pilot)
    take_fleet()
    for picture in sorted(IMAGES.glob("*.png")):
        print(f"{picture.relative_to(ROOT)}: {picture.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
