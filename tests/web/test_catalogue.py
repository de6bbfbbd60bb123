"""The catalogue of a changing root: runs are added, removed and damaged without affecting other runs."""

import html
import io
import json
import os
import re
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from fake_runs import fake_run
from PIL import Image
from web_compare_client import client_of, first_cells, get, text_of

from utils.runs import run_folder
from utils.runs.run_folder import Run
from webapp.http.problem_responses import Problem
from webapp.runs import catalogue as catalogues
from webapp.runs import test_predictions
from webapp.runs.catalogue import Catalogue
from webapp.runs.figures import FigureCache


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A root with one good run that a test may change."""
    monkeypatch.setenv("LEUKOBENCH_DATA", str(tmp_path / "data"))
    root = tmp_path / "runs"
    good = fake_run(root, seed=1, pictures=True, measured=True)
    return SimpleNamespace(root=root, good=good, client=client_of(root))


def test_heatmaps_come_from_the_worker_or_from_the_file(own):
    bare = fake_run(own.root, "resnet50", heatmaps=True)
    bare.file(run_folder.WEIGHTS).unlink()
    catalogue, inference = own.client.app.state.services.catalogue, own.client.app.state.services.inference
    row = next(iter(test_predictions.of(catalogue.find(own.good.id)).of.values())).row
    path = f"/runs/{own.good.id}/images/{row}"
    got = get(own.client, f"{path}/heatmap.png?method=gradcam%2B%2B")
    assert Image.open(io.BytesIO(got.content)).size == (448, 448)
    assert inference.asked[-1][0::2] == (own.good.id, "gradcam++")
    get(own.client, f"{path}/heatmap.png?method=none", 422)
    explained = {str(image) for image in np.load(bare.file(run_folder.HEATMAPS))["image"]}
    answers = test_predictions.of(catalogue.find(bare.id)).of.values()
    for answer in answers:
        get(own.client, f"/runs/{bare.id}/images/{answer.row}/heatmap.png", 200 if answer.image in explained else 404)
    page = get(own.client, f"/runs/{bare.id}/cell?true=0&predicted=0").text
    assert page.count("data-look") == sum(f"/images/{a.row}/heatmap" in page for a in answers if a.image in explained)
    assert "weights of this run are missing" in page


def test_no_file_outside_the_dataset_is_shown(own):
    secret = own.root.parent / "secret.png"
    Image.new("RGB", (8, 8)).save(secret)
    shutil.rmtree(own.root / "manifests")  # else the images are held against it
    path = own.good.file(run_folder.PREDICTIONS)
    lines = path.read_text().splitlines()
    k = next(k for k, line in enumerate(lines) if ",test," in line)
    lines[k] = f"../../../secret.png,{lines[k].partition(',')[2]}"
    lines[k + 1] = f"{secret},{lines[k + 1].partition(',')[2]}"
    path.write_text("\n".join(lines) + "\n")
    for row in (k - 1, k, k + 1):  # none of a damaged run
        get(own.client, f"/runs/{own.good.id}/images/{row}.png", 404)
    config = own.good.file(run_folder.CONFIG)
    for dataset in ("..", "../..", ".", "/", "", "synthetic/../synthetic", "a\0b"):
        config.write_text(json.dumps(json.loads(config.read_text()) | {"dataset": dataset}))
        get(own.client, f"/runs/{own.good.id}/images/{k + 1}.png", 404)


def test_a_new_run_appears_and_a_deleted_one_disappears(own):
    assert len(first_cells(get(own.client, "/compare").text, 'id="every-run"')) == 1
    new = fake_run(own.root, seed=2, accuracy=0.5)
    page = get(own.client, "/compare").text
    assert len(first_cells(page, 'id="every-run"')) == 2
    assert len(get(own.client, "/api/v1/runs").json()) == 2
    assert "± 28.28".replace(" ", "") in text_of(page)  # both seeds are in one row: 90 and 50
    new.file(run_folder.METRICS).unlink()
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
    history = run.file(run_folder.HISTORY)
    history.write_text(history.read_text().rsplit("\n", 2)[0] + "\n4,tra")  # written to half
    page = get(own.client, f"/runs/{run.id}").text
    assert "There is no finished epoch to show." in page
    get(own.client, f"/runs/{run.id}/figures/curves.png", 404)
    assert "not evaluated" not in text_of(page)
    run.file(run_folder.PREDICTIONS).write_text("image,split")
    assert f"Finish it with: python run_guide.py evaluate {run.id}" in text_of(get(own.client, "/compare").text)


DAMAGE = {
    "config no JSON": (run_folder.CONFIG, lambda text: text[:40]),
    "config a list": (run_folder.CONFIG, lambda text: "[]"),
    "config null": (run_folder.CONFIG, lambda text: "null"),
    "config nested": (run_folder.CONFIG, lambda text: "[" * 100_000),
    "seed a text": (run_folder.CONFIG, lambda text: text.replace('"seed": 5', '"seed": "<b>five"')),
    "split a list": (run_folder.CONFIG, lambda text: re.sub(r'"split": "[^"]*"', '"split": [1]', text)),
    "split a word": (run_folder.CONFIG, lambda text: re.sub(r'"split": "[^"]*"', '"split": "so so"', text)),
    "classes a number": (run_folder.CONFIG, lambda text: re.sub(r'"classes": \[[^\]]*\]', '"classes": 4', text)),
    "classes empty": (run_folder.CONFIG, lambda text: re.sub(r'"classes": \[[^\]]*\]', '"classes": []', text)),
    "half a character": (run_folder.CONFIG, lambda text: text.replace('"synthetic"', '"\\ud800"')),
    "flavour a number": (run_folder.CONFIG, lambda text: re.sub(r'"flavour": \[[^\]]*\]', '"flavour": 3', text)),
    "environment null": (run_folder.ENVIRONMENT, lambda text: "null"),
    "environment empty": (run_folder.ENVIRONMENT, lambda text: ""),
    "history binary": (run_folder.HISTORY, lambda text: "\0\1\2"),
    "history empty": (run_folder.HISTORY, lambda text: text.split("\n")[0]),
    "timing a word": (run_folder.TIMING, lambda text: '"slow"'),
    "timing in words": (run_folder.TIMING, lambda text: text.replace('"parameters": ', '"parameters": "many", "x": ')),
    "predictions cut": (run_folder.PREDICTIONS, lambda text: text[: len(text) // 2]),
    "predictions empty": (run_folder.PREDICTIONS, lambda text: ""),
    "predictions of text": (run_folder.PREDICTIONS, lambda text: re.sub(r"0\.\d+", "x", text)),
    "probabilities above one": (run_folder.PREDICTIONS, lambda text: text.replace(",0.", ",7.")),
    "metrics no JSON": ("metrics.json", lambda text: "{"),
    "metrics a number": ("metrics.json", lambda text: "3"),
    "stress of text": ("stress.csv", lambda text: text.replace("0.", "x")),
    "faithfulness of text": ("faithfulness.csv", lambda text: text.replace("0.", "x")),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_run_gives_its_reason_and_affects_no_other(own, what):
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
    assert told["state"] == "damaged"
    assert len(told["problem"]) > 30
    assert html.escape(told["problem"])[:40] in get(own.client, "/compare").text.replace("&#34;", "&quot;")
    assert "This run cannot be used." in get(own.client, f"/runs/{bad.id}").text
    assert f"{bad.id} is damaged" in text_of(get(own.client, f"/versus?a={own.good.id}&b={bad.id}").text)
    get(own.client, f"/runs/{bad.id}/cell", 404)
    get(own.client, f"/api/v1/runs/{bad.id}/confusion", 404)
    assert [row["model"] for row in own.client.app.state.services.catalogue.leaderboard()] == ["cnn"]
    assert own.client.app.state.services.catalogue.offered()[0].id == own.good.id


def test_other_folders_are_ignored_or_damaged_runs(own):
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


def test_weights_outside_the_root_are_ignored(own):
    catalogue = Catalogue(own.root)
    assert catalogue.find(own.good.id).has_weights
    weights = own.good.file(run_folder.WEIGHTS)
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
    os.utime(own.good.file(run_folder.TIMING), ns=(1, 1))
    assert catalogue.find(own.good.id).finished
    assert read[2:] == [own.good.id]


def test_a_run_deleted_while_it_is_read_is_no_error(own, monkeypatch):
    monkeypatch.setattr(Run, "history", lambda run: shutil.rmtree(run.path) or [])
    entries = Catalogue(own.root).entries()
    assert [entry.state for entry in entries] == ["damaged"]
    with pytest.raises(Problem) as caught:
        Catalogue(own.root).find(own.good.id)
    assert caught.value.status == 404


def test_a_run_deleted_between_two_requests_answers_404(own):
    catalogue = own.client.app.state.services.catalogue
    entry = catalogue.find(own.good.id)
    shutil.rmtree(own.good.path)
    test_predictions._read.cache_clear()
    for ask in (test_predictions.of, lambda e: FigureCache().png(e, "curves")):
        with pytest.raises(Problem) as caught:
            ask(entry)
        assert caught.value.status == 404


def test_offered_are_the_latest_of_each_kind_best_first(own):
    fake_run(own.root, seed=2, accuracy=0.5)
    fake_run(own.root, "resnet50", accuracy=0.8)
    fake_run(own.root, "keras:VGG19", finished=False)
    offered = Catalogue(own.root).offered()
    assert [(entry.run.model, entry.record.row["accuracy"]) for entry in offered] == [("resnet50", 0.8), ("cnn", 0.5)]
