"""The pages below "Compare", their figures and GET /api/v1/runs: correct numbers, and 404 for anything else."""

import html
import io
import json
import re
from types import SimpleNamespace

import pytest
from fake_runs import CLASSES, fake_run
from hostile_requests import Page
from PIL import Image
from web_compare_client import client_of, first_cells, get, text_of

from utils.metrics import predictions, significance
from utils.runs import leaderboard, run_folder
from webapp.runs import figures, pairwise, test_predictions
from webapp.runs.figures import FIGURES, FigureCache
from webapp.runs.leaderboard_pages import COLUMNS


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


def test_every_page_is_complete_and_has_no_inline_scripts(world):
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
        assert not Page(page).bad and "<style" not in page, path
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
    key = COLUMNS[-1].key
    unknown = first_cells(get(world.client, f"/compare?sort={key}&order=sideways").text, 'class="board"')
    assert unknown == first_cells(
        get(world.client, f"/compare?sort={key}&order={COLUMNS[-1].first}").text, 'class="board"'
    )


def test_compare_lists_every_run_newest_first_with_its_state(world):
    page = get(world.client, "/compare").text
    listed = first_cells(page, 'id="every-run"')
    assert len(listed) == 6
    assert "resnet50" in listed[0]
    assert f"python run_guide.py train --resume {world.unfinished.id}" in text_of(page)
    for run in (world.a, world.keras):
        assert f'href="/runs/{run.model}/{run.path.name}"' in page


@pytest.mark.parametrize("test_sets", [("test",), ("test_day", "test_night"), ("test", "test_2", "test_lab_b")])
def test_a_page_shows_every_test_set_of_a_given_split(tmp_path, test_sets):
    main, *others = test_sets
    run = fake_run(tmp_path, split="given", test_sets=test_sets, images=24)
    client, metrics = client_of(tmp_path), run.metrics()
    page = text_of(get(client, f"/runs/{run.id}").text)
    assert "the dataset's own split" in page
    assert (f"of the 24 test images of {main}," in page) == (main != "test")
    assert ("Other test sets" in page) == bool(others)
    detail = get(client, f"/api/v1/runs/{run.id}").json()
    assert detail["metrics"]["accuracy"] == metrics["test"]["accuracy"]
    assert [each["test_set"] for each in detail["other_tests"]] == others
    for each in detail["other_tests"]:
        measured = metrics[each["test_set"]]
        assert (each["images"], each["accuracy"]) == (24, measured["accuracy"])
        assert f"{each['test_set']} 24 {measured['accuracy']:.2%}".rstrip("%") in page
    names = re.findall(r'<h2 class="name">(.*?)</h2>', get(client, f"/runs/{run.id}/cell?true=0").text)
    table = run.predictions(main)
    assert set(names) <= {image.rpartition("/")[2] for image in table["image"]}


def test_matrix_cells_open_exactly_their_images(world):
    table = world.a.predictions("test")
    page = get(world.client, f"/runs/{world.a.id}").text
    matrix = predictions.confusion(table)
    assert matrix.trace() < len(table)
    for true, label in enumerate(CLASSES):
        for predicted, said in enumerate(CLASSES):
            count = matrix[true, predicted]
            words = f"true {label}, predicted {said}: {count} image{'' if count == 1 else 's'}"
            path = f"/runs/{world.a.id}/cell?true={true}&predicted={predicted}"
            assert f'href="{html.escape(path)}" aria-label="{words}"' in page
            images = predictions.cell(table, label, said)["image"]
            cell = get(world.client, path).text
            names = [text_of(name) for name in re.findall(r'<h2 class="name">(.*?)</h2>', cell)]
            assert names == [image.rpartition("/")[2] for image in images]


def test_images_are_paged_and_keep_their_order(world):
    count = len(world.other.predictions("test"))
    wrong = predictions.cell(world.other.predictions("test"))
    path = f"/runs/{world.other.id}/cell"
    assert count > len(wrong) > 0
    shown = re.findall(r'<h2 class="name">(.*?)</h2>', get(world.client, path).text)
    assert shown == [image.rpartition("/")[2] for image in wrong["image"]][:24]
    assert "Image not available" in get(world.client, path).text  # the dataset "elsewhere" is not imported
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
    found = pairwise.agreement(catalogue.find(world.a.id), catalogue.find(world.b.id))
    only_a, only_b = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    assert (found.both, found.only_a, found.only_b) == (int((right[0] & right[1]).sum()), only_a, only_b)
    assert found.same_wrong + found.other_wrong == int((~right[0] & ~right[1]).sum())
    assert found.p_images == significance.mcnemar_exact(only_a, only_b)
    differ = set(one.index[said[0] != said[1]])
    assert {a.image for a, _ in found.differ} == differ
    base = f"/versus?a={world.a.id}&b={world.b.id}"
    page = get(world.client, base).text
    assert f"All that differ ({len(differ)})" in page
    only = get(world.client, f"{base}&show=b").text
    names = set(re.findall(r'<h4 class="name">(.*?)</h4>', only))
    assert names == {image.rpartition("/")[2] for image in one.index[right[1] & ~right[0]]}
    lines = pairwise.numbers(catalogue.find(world.a.id), catalogue.find(world.b.id))
    first = lines[0]
    assert (first.a, first.b, first.difference, first.better) == ("90.00", "75.00", "-15.00", "a")
    assert ("seed", "1", "2") in pairwise.settings(catalogue.find(world.a.id), catalogue.find(world.b.id))


def test_versus_states_why_runs_cannot_be_compared(world):
    page = text_of(get(world.client, f"/versus?a={world.a.id}&b={world.other.id}").text)
    assert "They cannot be compared image by image" in page
    assert "90.00" in page
    assert "is unfinished" in text_of(get(world.client, f"/versus?a={world.a.id}&b={world.unfinished.id}").text)
    get(world.client, f"/versus?a={world.a.id}&b=cnn/none", 404)


def test_the_api_returns_the_results_of_the_files(world):
    listed = get(world.client, "/api/v1/runs").json()
    assert [run["id"] for run in listed] == sorted((r["id"] for r in listed), key=lambda i: i[-25:], reverse=True)
    states = {run["id"]: run["state"] for run in listed}
    assert states[world.a.id] == "finished"
    assert states[world.unfinished.id] == "unfinished"
    for run in (world.a, world.grouped, world.other, world.keras):
        expected = predictions.summary(run.predictions("test"))
        told = get(world.client, f"/api/v1/runs/{run.id}").json()
        for key in ("images", "accuracy", "accuracy_low", "balanced_accuracy", "log_loss"):
            assert told["metrics"][key] == pytest.approx(expected[key], abs=1e-12)
        assert told["metrics"]["f1"] == pytest.approx(expected["macro"]["f1"])
        assert [each["recall"] for each in told["per_class"]] == [each["recall"] for each in expected["per_class"]]
        assert told["config"] == json.loads(run.file(run_folder.CONFIG).read_text())
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
def test_hostile_ids_are_not_found(world, id):
    for path in (f"/runs/{id}", f"/runs/{id}/cell", f"/runs/{id}/images/0.png", f"/runs/{id}/figures/curves.png",
                 f"/runs/{id}/images/0/heatmap.png", f"/api/v1/runs/{id}", f"/api/v1/runs/{id}/confusion"):  # fmt: skip
        answer = world.client.get(path)
        assert answer.status_code == 404, path
        assert answer.headers["content-type"].startswith("application/") or "<script>alert" not in answer.text
    assert world.client.get("/versus", params={"a": id, "b": "x"}).status_code == 404


def test_unknown_things_are_not_found(world):
    for name in ("figures/none", "figures/..%2fx", "images/0", f"images/{'9' * 20}", "images/-1"):
        get(world.client, f"/runs/{world.a.id}/{name}.png", 404)  # row 0 is a validation image
    get(world.client, f"/runs/{world.a.id}/images/x.png", 422)
    get(world.client, f"/runs/{world.b.id}/figures/stress-bars.png", 404)
    get(world.client, f"/runs/{world.unfinished.id}/cell", 404)


def test_figures_have_the_size_given_in_the_page(world):
    catalogue, drawings = world.client.app.state.services.catalogue, FigureCache()
    entry = catalogue.find(world.a.id)
    for name, drawn in FIGURES.items():
        if drawn.has(entry):
            assert Image.open(io.BytesIO(drawings.png(entry, name))).size == (drawn.width, drawn.height), name
            assert len(drawn.alt(entry)) > 40
    assert drawings.png(entry, "curves") is drawings.png(entry, "curves")
    page = get(world.client, f"/runs/{world.a.id}").text
    assert page.count("<figure>") >= 5
    assert page.count("<img") == page.count(' alt="') == page.count("figures/") // 2


def test_the_cache_of_figures_is_bounded(world, monkeypatch):
    monkeypatch.setattr(figures, "CACHE_BYTES", 100_000)
    kept, entry = FigureCache(), world.client.app.state.services.catalogue.find(world.a.id)
    for name in ("curves", "reliability", "risk-coverage"):
        kept.png(entry, name)
    assert sum(map(len, kept._kept.values())) <= 100_000 or len(kept._kept) == 1


def test_thumbnails_are_encoded_again(world):
    catalogue = world.client.app.state.services.catalogue
    answer = next(iter(test_predictions.of(catalogue.find(world.a.id)).of.values()))
    got = get(world.client, f"/runs/{world.a.id}/images/{answer.row}.png")
    assert got.headers["content-type"] == "image/png"
    assert got.headers["cache-control"] == "private, max-age=300"
    assert Image.open(io.BytesIO(got.content)).size == (256, 256)
    original = world.root.parent / "data" / "raw" / "synthetic" / answer.image
    assert got.content != original.read_bytes()
    get(world.client, f"/runs/{world.keras.id}/images/{answer.row}.png")  # its own images, by their rows
