"""Debian's headless Chromium at the server's pages, as a plugin of pytest: the runs behind them, and a page that
remembers what went wrong.
"""

import re
import shutil
from types import SimpleNamespace

import pytest
from fake_runs import fake_run
from playwright.sync_api import Page, sync_playwright
from web_server import Server

from utils.io import files
from utils.runs import calibration_file
from utils.runs.run_folder import Run

FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)
REFUSED = re.compile(r"Failed to load resource: the server responded with a status of (4\d\d)")


@pytest.fixture(scope="session")
def runs(home, small_run):
    """Runs of every kind below one root: two real ones on one split, one on another, and two that are not usable."""
    import models
    from data.auditing import shortcut_baselines
    from data.synthetic import generator as synthetic
    from models.engine.config import recipes
    from models.engine.evaluation import evaluator
    from models.engine.explain import explainer, faithfulness
    from models.engine.robustness import stress_test
    from models.engine.run_io import run_loader
    from models.engine.training import trainer

    root = home / "shown"
    synthetic.make("smears", images_per_class=40, size=224, patients=8, seed=7)
    fields = {"dataset": "smears", "image_size": 64, "filters": (8, 16, 32), "dense": 16, "batch_size": 8}
    fields |= {"learning_rate": 2e-3, "dropout": 0.2}

    def trained(epochs, recipe=""):
        config = models.config_for("cnn", settings=recipes.settings(recipe), epochs=epochs, **fields)
        return evaluator.evaluate(trainer.train(config, root))

    plain, swapped = trained(25), trained(14, "stain_swap")
    stress_test.stress([plain, swapped], ["grey", "stain swap", "blur"], heatmaps=0)
    shortcut_baselines.evaluate(run_loader.split_of(plain), root)
    faithfulness.measure(plain, 4, ["gradcam"])
    explainer.explain(plain)
    for run in (plain, swapped):
        files.write_json(run.file(calibration_file.FILE), calibration_file.measure(run))
    other = Run(root / "cnn" / small_run.path.name)
    shutil.copytree(small_run.path, other.path, ignore=shutil.ignore_patterns("*.h5"))  # other images, no weights
    shutil.copytree(small_run.root / "manifests", root / "manifests", dirs_exist_ok=True)
    unfinished = fake_run(root, "resnet50", finished=False)
    damaged = fake_run(root, "smearnet")
    damaged.file("metrics.json").write_text('{"test": {"accuracy": ')
    return SimpleNamespace(root=root, plain=plain, swapped=swapped, other=other, unfinished=unfinished, damaged=damaged)


@pytest.fixture(scope="session")
def site(runs, tmp_path_factory):
    """Start the server with the command line."""
    with Server(runs.root, tmp_path_factory.mktemp("log") / "server.log") as server:
        yield server
        assert server.faults() == []
        assert "Traceback" not in server.log


@pytest.fixture(scope="session")
def chromium():
    """Start the browser once; each test gets its own windows."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=list(FLAGS))
        yield browser
        browser.close()


class Watch:
    """Collects the errors of a page."""

    def __init__(self, page: Page, site: Server) -> None:
        self.faults, self.refused, self._site = [], [], site
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("requestfailed", self._failed)
        page.on("request", self._asked)

    def _said(self, message) -> None:
        found = REFUSED.match(message.text)
        if found:
            self.refused.append(int(found[1]))
        elif message.type in ("error", "warning"):
            self.faults.append(f"console: {message.text}")

    def _failed(self, request) -> None:
        # Leaving a page cancels its image requests.
        if (request.resource_type, request.failure) != ("image", "net::ERR_ABORTED"):
            self.faults.append(f"failed: {request.url[:200]} {request.failure}")

    def _asked(self, request) -> None:
        if not request.url.startswith((f"{self._site.url}/", "data:", f"blob:{self._site.url}/")):
            self.faults.append(f"left the server: {request.url[:200]}")


@pytest.fixture
def visit(chromium, site):
    """Open pages; in the end none of them may have had an error, a failed request or one to elsewhere.

    `refused` are the statuses of the answers 4xx that a test means to get, in any order.
    """
    opened = []

    def go(path="/", refused=(), **options) -> Page:
        options = {"viewport": {"width": 1180, "height": 900}, "reduced_motion": "reduce"} | options
        context = chromium.new_context(base_url=site.url, **options)
        context.set_default_timeout(20_000)
        page = context.new_page()
        opened.append((context, Watch(page, site), sorted(refused)))
        page.goto(path)
        return page

    yield go
    for context, _, _ in opened:
        context.close()
    for _, watch, refused in opened:
        assert watch.faults == []
        assert sorted(watch.refused) == refused
