"""Actions and checks of the tests in a page.

With LEUKOBENCH_SCREENSHOTS=1 in the environment `shoot` writes into docs/web/; else the tree stays as it is.
"""

import base64
import io
import os
import re
from dataclasses import dataclass

import numpy as np
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from utils.paths import PROJECT
from utils.runs.run_folder import Run

SCREENSHOTS = PROJECT / "docs" / "web"
SAMPLES = PROJECT / "docs" / "samples"
NOTICE = "Research only, not a diagnosis"
PATIENCE = 60_000  # milliseconds for whatever a model is asked


@dataclass(frozen=True)
class File:
    """A file to give to the page."""

    name: str
    content: bytes

    @property
    def payload(self) -> dict:
        """As Playwright takes it."""
        return {"name": self.name, "mimeType": "image/png", "buffer": self.content}

    @property
    def told(self) -> dict:
        """As `TRANSFER` takes it."""
        return {"name": self.name, "data": base64.b64encode(self.content).decode()}


def sample(name: str) -> File:
    return File(f"{name}.png", (SAMPLES / f"{name}.png").read_bytes())


def picture(name: str, pixels: np.ndarray, kind: str = "PNG") -> File:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return File(name, buffer.getvalue())


def noise(name: str = "noise.png", side: int = 128) -> File:
    return picture(name, np.random.default_rng(1).integers(0, 256, (side, side, 3), np.uint8))


# Files as the clipboard or a drag holds them: sends an event of that kind to the element.
TRANSFER = """(element, [kind, files]) => {
  const transfer = new DataTransfer();
  for (const file of files) {
    const bytes = Uint8Array.from(atob(file.data), (letter) => letter.charCodeAt(0));
    transfer.items.add(new File([bytes], file.name, { type: "image/png" }));
  }
  const how = { bubbles: true, cancelable: true };
  element.dispatchEvent(kind === "paste"
    ? new ClipboardEvent(kind, { ...how, clipboardData: transfer })
    : new DragEvent(kind, { ...how, dataTransfer: transfer }));
}"""


def choose(page: Page, *given: File) -> None:
    page.get_by_label("Images", exact=True).set_input_files([file.payload for file in given])


def ask(page: Page) -> None:
    """Press the button and wait until every image has its answer."""
    page.get_by_role("button", name="Ask the models").click()
    expect(page.locator("#status")).to_have_text(re.compile(r"\d+ of \d+ images? answered"), timeout=PATIENCE)


def answer_of(page: Page, name: str) -> Locator:
    """Return the card of one image."""
    return page.locator("article.answer").filter(has=page.get_by_role("heading", name=name, exact=True, level=3))


def address(run: Run, rest: str = "") -> str:
    return f"/runs/{run.id}{rest}"


# Which element is at the middle of another one, as a person sees it: none of ours where something lies above it.
SEEN = """(element) => {
  const box = element.getBoundingClientRect();
  const found = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
  return found !== null && (element.contains(found) || found.contains(element));
}"""


def in_sight(page: Page, locator: Locator) -> None:
    """Check that the notice is visible together with an element."""
    locator.scroll_into_view_if_needed()
    strip = page.locator(".strip")
    expect(locator).to_be_in_viewport()
    expect(strip).to_be_in_viewport(ratio=0.99)
    expect(strip).to_contain_text(NOTICE)
    assert strip.evaluate(SEEN)  # nothing lies above it


def shoot(page: Page, name: str) -> None:
    """Write what is seen as docs/web/<name>.png, in few colours, where screenshots are wanted."""
    if os.environ.get("LEUKOBENCH_SCREENSHOTS") != "1":
        return
    shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    SCREENSHOTS.mkdir(exist_ok=True)
    # Rare colours, those of heatmaps among them, keep a place of their own.
    few = shot.quantize(256, method=Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE)
    few.save(SCREENSHOTS / f"{name}.png", optimize=True)
