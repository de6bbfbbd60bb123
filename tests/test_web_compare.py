"""The catalogue of runs, the pages below "Compare" and GET /api/v1/runs: right numbers, and no run breaks another."""

import html
import io
import json
import os
import re
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from fakes import CLASSES, fake_run
from fastapi.testclient import TestClient
from PIL import Image

from utils import artifacts, leaderboard, metrics, statistics
from utils.artifacts import Run
from webapp import catalogue as catalogues
from webapp import run_answers, sheets, versus
from webapp.board import COLUMNS
from webapp.catalogue import Catalogue
from webapp.figures import FIGURES
from webapp.problems import Problem
from webapp.server import make_app
from webapp.settings import Settings
from webapp.sheets import Sheets


class FakeInference:
    """Stands for the model worker: a map that grows to the right."""

    def __init__(self):
        self.asked = []

    def heatmap_of_file(self, entry, path, method=""):
        self.asked.append((entry.id, path.name, method))
        return np.tile(np.linspace(0, 1, 16, dtype=np.float32), (16, 1)), np.full(4, 0.25)


def client_of(root):
    """The real application with the catalogue alone: no process is started."""
    app = make_app(Settings(root=Path(root)))
    app.state.services = SimpleNamespace(catalogue=Catalogue(root), inference=FakeInference())
    return TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Runs of every kind below one root, with the images of their dataset."""
    folder = tmp_path_factory.mktemp("web")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEUKOBENCH_DATA", str(folder / "data"))
        root = folder / "runs"
        runs = {
            "a": fake_run(root, seed=1, accuracy=0.9, pictures=True, heatmaps=True, measured=True),
            "b": fake_run(root, seed=2, accuracy=0.75),
            "grouped": fake_run(root, seed=1, accuracy=0.7, split="grouped", measured=True),
            "other": fake_run(root, "resnet50", accuracy=0.6, test_identity="other", dataset="elsewhere"),
            "keras": fake_run(root, "keras:VGG19", accuracy=0.65),
            "unfinished": fake_run(root, "resnet50", finished=False),
        }
        yield SimpleNamespace(root=root, client=client_of(root), **runs)


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A root that a test may change, with one good run."""
    monkeypatch.setenv("LEUKOBENCH_DATA", str(tmp_path / "data"))
    root = tmp_path / "runs"
    good = fake_run(root, seed=1, pictures=True, measured=True)
    return SimpleNamespace(root=root, good=good, client=client_of(root))


def text_of(page):
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).replace("\u200b", "").split())


def get(client, path, status=200):
    answer = client.get(path)
    assert answer.status_code == status, f"{path}: {answer.status_code} {text_of(answer.text)[-300:]}"
    return answer


def first_cells(page, table):
    body = re.search(rf"<table[^>]*{table}[^>]*>.*?<tbody>(.*?)</tbody>", page, re.S)[1]
    return [text_of(cell) for cell in re.findall(r'<tr[^>]*>\s*<th scope="row">(.*?)</th>', body, re.S)]


def test_every_page_is_whole_and_holds_nothing_inline(world):
    a, b = world.a.id, world.b.id
    paths = ["/compare", "/compare?sort=leakage_gap&order=asc", "/versus", f"/versus?a={a}", f"/versus?a={a}&b={b}"]
    paths += [f"/versus?a={a}&b={world.other.id}", f"/versus?a={a}&b={world.unfinished.id}", f"/versus?a={a}&b={a}"]
    paths += [f"/runs/{a}/cell", f"/runs/{a}/cell?true=1&predicted=1", f"/runs/{b}/cell?predicted=0"]
    paths += [f"/runs/{run.id}" for run in (world.a, world.b, world.grouped, world.other, world.keras)]
    paths += [f"/runs/{world.unfinished.id}"]
    for path in paths:
        answer = get(world.client, path)
        page = answer.text
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "set-cookie" not in answer.headers
        assert "Research only, not a diagnosis" in page
        tags = re.findall(r"<[a-zA-Z][^>]*>", page)
        assert not [tag for tag in tags if re.search(r"\s(style|on\w+)\s*=|javascript:", tag)], path
        assert not [
            tag for tag in tags if tag.startswith("<style") or (tag.startswith("<script") and "src=" not in tag)
        ]
        ids = re.findall(r'\sid="([^"]+)"', page)
        assert len(ids) == len(set(ids)), path
        assert str(world.root) not in page


def test_leaderboard_shows_its_rows_in_any_order(world):
    rows = leaderboard.rows(leaderboard.read(world.root)[0])
    of_dataset = [row for row in rows if row["dataset"] == "synthetic"]
    assert len(of_dataset) >= 2
    page = get(world.client, "/compare").text
    assert first_cells(page, 'class="board"') == [row["name"] for row in of_dataset]
    for column in COLUMNS:
        for order in ("asc", "desc"):
            page = get(world.client, f"/compare?sort={column.key}&order={order}").text
            values = {row["name"]: column.value(row) for row in of_dataset}
            shown = [values[name] for name in first_cells(page, 'class="board"')]
            known = [value for value in shown if value is not None]
            assert known == sorted(known, reverse=order == "desc")
            assert shown == known + [None] * (len(shown) - len(known))
            boards = page.count('<table class="board"')
            assert page.count("aria-sort=") == boards
            assert page.count(f'aria-sort="{order}ending"') == boards
    assert "98.00" not in get(world.client, "/compare?sort=%3Cscript%3E&order=up").text


def test_compare_lists_every_run_newest_first_with_its_state(world):
    page = get(world.client, "/compare").text
    listed = first_cells(page, 'id="every-run"')
    assert len(listed) == 6
    assert "resnet50" in listed[0]
    assert f"python run_guide.py train --resume {world.unfinished.id}" in text_of(page)
    for run in (world.a, world.keras):
        assert f'href="/runs/{run.model}/{run.path.name}"' in page


def test_matrix_cells_open_exactly_their_images(world):
    table = world.a.predictions("test")
    page = get(world.client, f"/runs/{world.a.id}").text
    matrix = metrics.confusion(table)
    assert matrix.trace() < len(table)
    for true, label in enumerate(CLASSES):
        for predicted, said in enumerate(CLASSES):
            count = matrix[true, predicted]
            words = f"true {label}, predicted {said}: {count} image{'' if count == 1 else 's'}"
            path = f"/runs/{world.a.id}/cell?true={true}&predicted={predicted}"
            assert f'href="{html.escape(path)}" aria-label="{words}"' in page
            images = metrics.cell(table, label, said)["image"]
            cell = get(world.client, path).text
            names = [text_of(name) for name in re.findall(r'<h2 class="name">(.*?)</h2>', cell)]
            assert names == [image.rpartition("/")[2] for image in images]


def test_images_are_paged_and_keep_their_order(world):
    shown = []
    count = len(world.other.predictions("test"))
    wrong = metrics.cell(world.other.predictions("test"))
    path = f"/runs/{world.other.id}/cell"
    assert count > len(wrong) > 0
    shown = re.findall(r'<h2 class="name">(.*?)</h2>', get(world.client, path).text)
    assert shown == [image.rpartition("/")[2] for image in wrong["image"]][:24]
    assert "Image not at hand" in get(world.client, path).text  # the dataset "elsewhere" is not imported
    get(world.client, f"{path}?page=2", 404)
    get(world.client, f"{path}?page=0", 422)
    get(world.client, f"{path}?true=4", 404)
    get(world.client, f"{path}?true=-1", 404)
    get(world.client, f"{path}?true=x", 422)


def test_versus_counts_and_lists_what_differs(world):
    one, two = (run.predictions("test").set_index("image") for run in (world.a, world.b))
    said = [table[[f"p_{name}" for name in CLASSES]].idxmax(axis=1).str[2:] for table in (one, two)]
    two, said[1] = two.loc[one.index], said[1].loc[one.index]
    right = [answer == one["label"] for answer in said]
    catalogue = world.client.app.state.services.catalogue
    found = versus.agreement(catalogue.find(world.a.id), catalogue.find(world.b.id))
    only_a, only_b = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    assert (found.both, found.only_a, found.only_b) == (int((right[0] & right[1]).sum()), only_a, only_b)
    assert found.same_wrong + found.other_wrong == int((~right[0] & ~right[1]).sum())
    assert found.p == statistics.mcnemar_exact(only_a, only_b)
    differ = set(one.index[said[0] != said[1]])
    assert {a.image for a, _ in found.differ} == differ
    base = f"/versus?a={world.a.id}&b={world.b.id}"
    page = get(world.client, base).text
    assert f"All that differ ({len(differ)})" in page
    only = get(world.client, f"{base}&show=b").text
    names = set(re.findall(r'<h4 class="name">(.*?)</h4>', only))
    assert names == {image.rpartition("/")[2] for image in one.index[right[1] & ~right[0]]}
    lines = versus.numbers(catalogue.find(world.a.id), catalogue.find(world.b.id))
    first = lines[0]
    assert (first.a, first.b, first.difference, first.better) == ("90.00", "75.00", "-15.00", "a")
    assert ("seed", "1", "2") in versus.settings(catalogue.find(world.a.id), catalogue.find(world.b.id))


def test_versus_says_where_runs_cannot_be_compared(world):
    page = text_of(get(world.client, f"/versus?a={world.a.id}&b={world.other.id}").text)
    assert "They cannot be compared image by image" in page
    assert "90.00" in page
    assert "is unfinished" in text_of(get(world.client, f"/versus?a={world.a.id}&b={world.unfinished.id}").text)
    get(world.client, f"/versus?a={world.a.id}&b=cnn/none", 404)


def test_api_tells_what_the_files_say(world):
    listed = get(world.client, "/api/v1/runs").json()
    assert [run["id"] for run in listed] == sorted((r["id"] for r in listed), key=lambda i: i[-25:], reverse=True)
    states = {run["id"]: run["state"] for run in listed}
    assert states[world.a.id] == "finished"
    assert states[world.unfinished.id] == "unfinished"
    for run in (world.a, world.grouped, world.other, world.keras):
        expected = metrics.summary(run.predictions("test"))
        told = get(world.client, f"/api/v1/runs/{run.id}").json()
        for key in ("images", "accuracy", "accuracy_low", "balanced_accuracy", "log_loss"):
            assert told["metrics"][key] == pytest.approx(expected[key], abs=1e-12)
        assert told["metrics"]["f1"] == pytest.approx(expected["macro"]["f1"])
        assert [each["recall"] for each in told["per_class"]] == [each["recall"] for each in expected["per_class"]]
        assert told["config"] == json.loads(run.file(artifacts.CONFIG).read_text())
        matrix = get(world.client, f"/api/v1/runs/{run.id}/confusion").json()
        assert matrix["matrix"] == expected["confusion"]
        assert matrix["classes"] == list(CLASSES)
    assert get(world.client, f"/api/v1/runs/{world.a.id}").json()["stress"]["flip_rate"] == 0.5
    told = get(world.client, f"/api/v1/runs/{world.unfinished.id}").json()
    assert (told["metrics"], told["accuracy"], told["seed"]) == (None, None, 42)
    problem = get(world.client, f"/api/v1/runs/{world.unfinished.id}/confusion", 404)
    assert problem.headers["content-type"] == "application/problem+json"
    paths = get(world.client, "/api/v1/openapi.json").json()["paths"]
    for path in ("/api/v1/runs", "/api/v1/runs/{model}/{folder}", "/api/v1/runs/{model}/{folder}/confusion"):
        assert "$ref" in json.dumps(paths[path]["get"]["responses"]["200"])
    assert not [path for path in paths if path.startswith(("/compare", "/runs", "/versus"))]


HOSTILE = (
    "../x", "%2e%2e/%2e%2e", "cnn/..%2f..%2fetc", "cnn/%00", "%00/%00", "cnn/%0d%0aX-A:b", "cnn/" + "a" * 5000,
    "cnn/%ff%fe", "cnn/<script>alert(1)</script>", "~root/x", "cnn/{{7*7}}", "manifests/x.csv",
)  # fmt: skip


@pytest.mark.parametrize("id", HOSTILE)
def test_hostile_ids_lead_nowhere(world, id):
    for path in (f"/runs/{id}", f"/runs/{id}/cell", f"/runs/{id}/images/0.png", f"/runs/{id}/figures/curves.png",
                 f"/runs/{id}/images/0/heatmap.png", f"/api/v1/runs/{id}", f"/api/v1/runs/{id}/confusion"):  # fmt: skip
        answer = world.client.get(path)
        assert answer.status_code == 404, path
        assert answer.headers["content-type"].startswith("application/") or "<script>alert" not in answer.text
    assert world.client.get("/versus", params={"a": id, "b": "x"}).status_code == 404


def test_unknown_things_are_not_found(world):
    for path in (
        "figures/none.png",
        "figures/..%2fx.png",
        "images/0.png",
        "images/99999999999999999999.png",
        "images/-1.png",
    ):
        get(world.client, f"/runs/{world.a.id}/{path}", 404)  # row 0 is a validation image
    get(world.client, f"/runs/{world.a.id}/images/x.png", 422)
    get(world.client, f"/runs/{world.b.id}/figures/stress-bars.png", 404)
    get(world.client, f"/runs/{world.unfinished.id}/cell", 404)


def test_figures_have_the_size_that_the_page_says(world):
    catalogue, drawings = world.client.app.state.services.catalogue, Sheets()
    entry = catalogue.find(world.a.id)
    for name, drawn in FIGURES.items():
        if drawn.has(entry):
            assert Image.open(io.BytesIO(drawings.png(entry, name))).size == (drawn.width, drawn.height), name
            assert len(drawn.alt(entry)) > 40
    assert drawings.png(entry, "curves") is drawings.png(entry, "curves")
    page = get(world.client, f"/runs/{world.a.id}").text
    assert page.count("<figure>") >= 5
    assert page.count("<img") == page.count(' alt="') == page.count("figures/") // 2


def test_drawn_figures_are_kept_within_bounds(world, monkeypatch):
    monkeypatch.setattr(sheets, "KEPT", 100_000)
    kept, entry = Sheets(), world.client.app.state.services.catalogue.find(world.a.id)
    for name in ("curves", "reliability", "risk-coverage"):
        kept.png(entry, name)
    assert sum(map(len, kept._kept.values())) <= 100_000 or len(kept._kept) == 1


def test_thumbnails_are_encoded_anew(world):
    catalogue = world.client.app.state.services.catalogue
    answer = next(iter(run_answers.of(catalogue.find(world.a.id)).of.values()))
    got = get(world.client, f"/runs/{world.a.id}/images/{answer.row}.png")
    assert got.headers["content-type"] == "image/png"
    assert got.headers["cache-control"] == "private, max-age=300"
    assert Image.open(io.BytesIO(got.content)).size == (256, 256)
    original = world.root.parent / "data" / "raw" / "synthetic" / answer.image
    assert got.content != original.read_bytes()
    get(world.client, f"/runs/{world.keras.id}/images/{answer.row}.png")  # its own images, by their rows


def test_heatmaps_come_from_the_worker_and_else_from_the_file(own):
    bare = fake_run(own.root, "resnet50", heatmaps=True)
    bare.file(artifacts.WEIGHTS).unlink()
    catalogue, inference = own.client.app.state.services.catalogue, own.client.app.state.services.inference
    row = next(iter(run_answers.of(catalogue.find(own.good.id)).of.values())).row
    path = f"/runs/{own.good.id}/images/{row}"
    got = get(own.client, f"{path}/heatmap.png?method=gradcam%2B%2B")
    assert Image.open(io.BytesIO(got.content)).size == (448, 448)
    assert inference.asked[-1][0::2] == (own.good.id, "gradcam++")
    get(own.client, f"{path}/heatmap.png?method=none", 422)
    explained = {str(image) for image in np.load(bare.file(artifacts.HEATMAPS))["image"]}
    answers = run_answers.of(catalogue.find(bare.id)).of.values()
    held = {answer.image: get_status(own.client, bare, answer) for answer in answers}
    assert {image for image, status in held.items() if status == 200} == explained
    assert set(held.values()) == {200, 404}
    page = get(own.client, f"/runs/{bare.id}/cell?true=0&predicted=0").text
    assert page.count("data-look") == sum(f"/images/{a.row}/heatmap" in page for a in answers if a.image in explained)
    assert "weights of this run are not here" in page


def get_status(client, run, answer):
    return client.get(f"/runs/{run.id}/images/{answer.row}/heatmap.png").status_code


def test_no_file_outside_the_dataset_is_shown(own):
    secret = own.root.parent / "secret.png"
    Image.new("RGB", (8, 8)).save(secret)
    for folder in ("manifests",):
        shutil.rmtree(own.root / folder)  # else the images are held against it
    path = own.good.file(artifacts.PREDICTIONS)
    lines = path.read_text().splitlines()
    k = next(k for k, line in enumerate(lines) if ",test," in line)
    lines[k] = f"../../../secret.png,{lines[k].partition(',')[2]}"
    lines[k + 1] = f"{secret},{lines[k + 1].partition(',')[2]}"
    path.write_text("\n".join(lines) + "\n")
    for row in (k - 1, k):
        get(own.client, f"/runs/{own.good.id}/images/{row}.png", 404)
    get(own.client, f"/runs/{own.good.id}/images/{k + 1}.png")
    config = own.good.file(artifacts.CONFIG)
    for dataset in ("..", "../..", ".", "/", "", "synthetic/../synthetic", "a\0b"):
        config.write_text(json.dumps(json.loads(config.read_text()) | {"dataset": dataset}))
        get(own.client, f"/runs/{own.good.id}/images/{k + 1}.png", 404)


def test_a_new_run_shows_up_and_a_deleted_one_goes(own):
    assert len(first_cells(get(own.client, "/compare").text, 'id="every-run"')) == 1
    new = fake_run(own.root, seed=2, accuracy=0.5)
    page = get(own.client, "/compare").text
    assert len(first_cells(page, 'id="every-run"')) == 2
    assert len(get(own.client, "/api/v1/runs").json()) == 2
    assert "± 28.28".replace(" ", "") in text_of(page)  # both seeds are in one row: 90 and 50
    new.file(artifacts.METRICS).unlink()
    assert get(own.client, f"/api/v1/runs/{new.id}").json()["state"] == "unfinished"
    shutil.rmtree(new.path)
    get(own.client, f"/runs/{new.id}", 404)
    assert len(first_cells(get(own.client, "/compare").text, 'id="every-run"')) == 1
    shutil.rmtree(own.root)
    assert "There is no finished run here yet" in text_of(get(own.client, "/compare").text)
    assert get(own.client, "/api/v1/runs").json() == []


def test_an_unfinished_run_shows_its_curves(own):
    run = fake_run(own.root, "resnet50", finished=False)
    page = get(own.client, f"/runs/{run.id}").text
    assert "4 epochs made" in text_of(page)
    get(own.client, f"/runs/{run.id}/figures/curves.png")
    history = run.file(artifacts.HISTORY)
    history.write_text(history.read_text().rsplit("\n", 2)[0] + "\n4,tra")  # written to half
    page = get(own.client, f"/runs/{run.id}").text
    assert "There is no finished epoch to show." in page
    get(own.client, f"/runs/{run.id}/figures/curves.png", 404)
    assert "to the end" not in text_of(page)
    run.file(artifacts.PREDICTIONS).write_text("image,split")
    assert f"Finish it with: python run_guide.py evaluate {run.id}" in text_of(get(own.client, "/compare").text)


DAMAGE = {
    "config no JSON": (artifacts.CONFIG, lambda text: text[:40]),
    "config a list": (artifacts.CONFIG, lambda text: "[]"),
    "config null": (artifacts.CONFIG, lambda text: "null"),
    "config nested": (artifacts.CONFIG, lambda text: "[" * 100_000),
    "seed a text": (artifacts.CONFIG, lambda text: text.replace('"seed": 5', '"seed": "<b>five"')),
    "split a list": (artifacts.CONFIG, lambda text: re.sub(r'"split": "[^"]*"', '"split": [1]', text)),
    "split a word": (artifacts.CONFIG, lambda text: re.sub(r'"split": "[^"]*"', '"split": "so so"', text)),
    "classes a number": (artifacts.CONFIG, lambda text: re.sub(r'"classes": \[[^\]]*\]', '"classes": 4', text)),
    "classes empty": (artifacts.CONFIG, lambda text: re.sub(r'"classes": \[[^\]]*\]', '"classes": []', text)),
    "half a character": (artifacts.CONFIG, lambda text: text.replace('"synthetic"', '"\\ud800"')),
    "flavour a number": (artifacts.CONFIG, lambda text: re.sub(r'"flavour": \[[^\]]*\]', '"flavour": 3', text)),
    "environment null": (artifacts.ENVIRONMENT, lambda text: "null"),
    "environment empty": (artifacts.ENVIRONMENT, lambda text: ""),
    "history binary": (artifacts.HISTORY, lambda text: "\0\1\2"),
    "history empty": (artifacts.HISTORY, lambda text: text.split("\n")[0]),
    "timing a word": (artifacts.TIMING, lambda text: '"slow"'),
    "timing in words": (artifacts.TIMING, lambda text: text.replace('"parameters": ', '"parameters": "many", "x": ')),
    "predictions cut": (artifacts.PREDICTIONS, lambda text: text[: len(text) // 2]),
    "predictions empty": (artifacts.PREDICTIONS, lambda text: ""),
    "predictions of text": (artifacts.PREDICTIONS, lambda text: re.sub(r"0\.\d+", "x", text)),
    "probabilities above one": (artifacts.PREDICTIONS, lambda text: text.replace(",0.", ",7.")),
    "metrics no JSON": ("metrics.json", lambda text: "{"),
    "metrics a number": ("metrics.json", lambda text: "3"),
    "stress of text": ("stress.csv", lambda text: text.replace("0.", "x")),
    "faithfulness of text": ("faithfulness.csv", lambda text: text.replace("0.", "x")),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_run_says_why_and_breaks_nothing(own, what):
    bad = fake_run(own.root, seed=5, measured=True)
    name, damage = DAMAGE[what]
    path = bad.file(name)
    before = path.read_text()
    path.write_text(damage(before))
    assert path.read_text() != before
    told = get(own.client, f"/api/v1/runs/{bad.id}").json()
    assert get(own.client, "/api/v1/runs").status_code == 200
    for page in ("/compare", f"/runs/{bad.id}", f"/runs/{own.good.id}", f"/versus?a={own.good.id}&b={bad.id}"):
        text = get(own.client, page).text
        assert str(own.root) not in text
        assert "<b>five" not in text
    if what == "half a character":
        assert told["state"] == "finished"  # odd, but a name
        return
    assert told["state"] == "damaged"
    assert len(told["problem"]) > 30
    assert html.escape(told["problem"])[:40] in get(own.client, "/compare").text.replace("&#34;", "&quot;")
    get(own.client, f"/runs/{bad.id}/cell", 404)
    get(own.client, f"/api/v1/runs/{bad.id}/confusion", 404)
    assert [row["model"] for row in own.client.app.state.services.catalogue.leaderboard()] == ["cnn"]
    assert own.client.app.state.services.catalogue.offered()[0].id == own.good.id


def test_odd_folders_are_no_runs_or_damaged_ones(own):
    (own.root / "cnn" / "20260101T000000Z-00000000").mkdir()
    (own.root / "cnn" / "notes").mkdir()
    (own.root / "cnn" / "20260101T000000Z-00000001").write_text("a file")
    (own.root / "gone").symlink_to(own.root / "nowhere")
    (own.root / "file").write_text("")
    entries = Catalogue(own.root).entries()
    assert {entry.run.path.name: entry.state for entry in entries} == {
        own.good.path.name: "finished",
        "20260101T000000Z-00000000": "damaged",
    }
    assert Catalogue(own.root / "none").entries() == []
    assert Catalogue(own.root / "none").leaderboard() == []


def test_weights_that_lead_out_of_the_root_do_not_count(own):
    catalogue = Catalogue(own.root)
    assert catalogue.find(own.good.id).has_weights
    weights = own.good.file(artifacts.WEIGHTS)
    outside = weights.rename(own.root.parent / "other.h5")
    weights.symlink_to(outside)
    assert not catalogue.find(own.good.id).has_weights
    assert catalogue.offered() == []
    weights.unlink()
    weights.mkdir()
    assert not catalogue.find(own.good.id).has_weights
    os.mkfifo(own.good.file("pipe"))
    assert catalogue.find(own.good.id).finished


def test_a_run_is_read_once_until_it_changes(own, monkeypatch):
    fake_run(own.root, seed=2)
    read = []
    measure = catalogues.measure
    monkeypatch.setattr(catalogues, "measure", lambda run: read.append(run.id) or measure(run))
    catalogue = Catalogue(own.root)
    with ThreadPoolExecutor(8) as pool:
        boards = list(pool.map(lambda _: catalogue.leaderboard(), range(16)))
    assert all(board is boards[0] for board in boards)
    assert len(read) == 2
    begun = time.perf_counter()
    for _ in range(20):
        catalogue.entries()
    assert (time.perf_counter() - begun) / 20 < 0.05
    assert len(read) == 2
    os.utime(own.good.file(artifacts.TIMING), ns=(1, 1))
    assert catalogue.find(own.good.id).finished
    assert read[2:] == [own.good.id]


def test_a_run_deleted_while_it_is_read_is_no_error(own, monkeypatch):
    monkeypatch.setattr(Run, "history", lambda run: shutil.rmtree(run.path) or json.loads("[]"))
    entries = Catalogue(own.root).entries()
    assert [entry.state for entry in entries] == ["damaged"]
    with pytest.raises(Problem) as caught:
        Catalogue(own.root).find(own.good.id)
    assert caught.value.status == 404


def test_a_run_deleted_between_two_looks_answers_404(own):
    catalogue = own.client.app.state.services.catalogue
    entry = catalogue.find(own.good.id)
    shutil.rmtree(own.good.path)
    run_answers._read.cache_clear()
    for ask in (run_answers.of, lambda e: Sheets().png(e, "curves")):
        with pytest.raises(Problem) as caught:
            ask(entry)
        assert caught.value.status == 404


def test_offered_are_the_latest_of_each_kind_best_first(own):
    fake_run(own.root, seed=2, accuracy=0.5)
    fake_run(own.root, "resnet50", accuracy=0.8)
    fake_run(own.root, "keras:VGG19", finished=False)
    offered = Catalogue(own.root).offered()
    assert [(entry.run.model, entry.record.row["accuracy"]) for entry in offered] == [("resnet50", 0.8), ("cnn", 0.5)]
