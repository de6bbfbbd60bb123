"""The report: one self-contained page with every run, and a list of what is missing."""

import base64
import io
import re
import shlex
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import islice, pairwise
from pathlib import Path

import fake_runs
import numpy as np
import pytest
from PIL import Image

import models
from data.auditing import audit
from data.auditing.audit import Audit, Group, PlacedPair
from utils import paths
from utils.io import files
from utils.runs import run_folder, shortcuts_file
from utils.runs.comparison import compare
from visualization import style
from visualization.displays import leaderboard
from visualization.report import provenance as notes
from visualization.report import report, validity_sections

HOSTILE = ("<script>alert(1)<script>", '"><img src=x onerror=alert(1)>', "Pre", "Pro")


class Page(HTMLParser):
    """A parsed page: tags, loaded URLs, links, anchors and texts."""

    def __init__(self, path: Path):
        super().__init__()
        self.tags, self.loads, self.links, self.anchors, self.words = [], [], [], set(), []
        self.text = path.read_text(encoding="utf-8")
        self.feed(self.text)
        self.shown = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.tags.append((tag, values))
        self.anchors |= {values["id"]} if "id" in values else set()
        self.links += [values["href"]] if tag == "a" else []
        self.loads += [v for k, v in attrs if k in ("src", "srcset", "data", "poster")]
        self.loads += [values["href"]] if tag != "a" and "href" in values else []

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture
def page_of(root: Path, tmp_path: Path) -> Callable[..., Page]:
    """Write the report of some runs and parse it."""
    return lambda *runs: Page(report.write_report(compare([*runs]), tmp_path / "report.html", root))


@pytest.fixture
def unrendered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Build the figures, but write no pixels."""
    monkeypatch.setattr(report, "_webp", lambda figure: b"")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, unrendered: None) -> None:
    """Leave the figures out, where a test is about texts and tables."""
    monkeypatch.setattr(report.figures, "drawings", lambda comparison: iter(()))
    monkeypatch.setattr(report.figures, "heatmap_drawings", lambda explained: iter(()))


def test_a_small_report_is_self_contained(root, page_of, monkeypatch):
    """The leaderboard and two figures are really drawn and embedded."""
    real = report.figures.drawings
    monkeypatch.setattr(report.figures, "drawings", lambda comparison: islice(real(comparison), 2))
    run = fake_runs.fake_run(root, "cnn")
    page = page_of(run)
    pictures = [base64.b64decode(url.removeprefix("data:image/webp;base64,"), validate=True) for url in page.loads]
    assert len(pictures) == 3 and all(min(Image.open(io.BytesIO(each)).size) > 150 for each in pictures)
    assert run.path.name in page.shown and {link.removeprefix("#") for link in page.links} <= page.anchors


def test_the_report_names_changed_and_unsealed_runs(root, page_of, quick):
    run = fake_runs.fake_run(root, "cnn", sealed=True)
    old, edited = fake_runs.fake_run(root, "old"), fake_runs.fake_run(root, "edited", sealed=True)
    with edited.file(run_folder.HISTORY).open("a") as history:
        history.write("\n")
    page = page_of(run, old)
    assert f"{edited.id} has changed since it was measured: {run_folder.HISTORY}" in page.shown
    (line,) = re.findall(r"Unsealed[^.]*\.", page.shown)
    assert "old" in line and "cnn" not in line


@pytest.mark.slow
def test_the_report_has_every_run_and_figure_and_loads_nothing(root, tmp_path):
    runs = [
        fake_runs.fake_run(root, "cnn", accuracy=0.8, dataset="smears", pictures=True, heatmaps=True),
        fake_runs.fake_run(root, "resnet50", accuracy=0.9, dataset="smears", weights="imagenet"),
    ]
    path = report.write_report(compare(runs), tmp_path / "page" / "report.html", root)
    page = Page(path)
    for run in runs:
        assert run.path.name in page.shown and run.model in page.shown
    pictures = [base64.b64decode(url.removeprefix("data:image/webp;base64,"), validate=True) for url in page.loads]
    titles = [values["alt"] for tag, values in page.tags if tag == "img"]
    assert len(pictures) == len(titles) == len(set(titles))
    for title in ("All models side by side", "Heatmaps on the same images", "ROC curves", "Samples of every class"):
        assert title in titles
    for picture in pictures:
        Image.open(io.BytesIO(picture)).verify()
    assert not re.search(r"url\(|@import|<script|<link|<iframe", page.text)
    assert {link.removeprefix("#") for link in page.links} <= page.anchors and page.links
    assert page.shown.count(style.NOTICE) >= 2
    assert f"python run_guide.py explain {runs[1].id}" in page.shown
    assert "10.34740/KAGGLE/DSV/2175623" in page.shown
    before = path.read_bytes()
    assert report.write_report(compare(runs[::-1]), path, root).read_bytes() == before
    assert str(tmp_path) not in page.text and str(paths.PROJECT) not in page.text


def test_the_page_starts_with_folded_contents_the_leaderboard_and_its_meaning(root, page_of, quick):
    runs = [
        fake_runs.fake_run(root, "cnn", accuracy=0.9, measured=True),
        fake_runs.fake_run(root, "cnn", accuracy=0.8, measured=True, split="grouped"),
    ]
    fake_runs.fake_run(root, "vgg", dataset="other", test_identity="e" * 16)
    page = page_of(runs[0])
    body = page.text.partition("<body>")[2]
    words = ("<details>", 'id="leaderboard"', "<table>", "Which of these", "Every number")
    places = [body.index(each) for each in words]
    assert places == sorted(places) and "<details open" not in body
    assert body.index("</details>") < places[1] and body.count("<p>", 0, places[2]) == 1  # the notice alone
    assert page.text.count("<h4>Accuracy, also on changed images</h4>") == 1
    _, front = page.text.split('<section id="leaderboard">')
    front, rest = front.split('<section id="set1">')
    assert "accuracy 90.0 % on the test images and 30.0 % with the stain of another class" in front
    assert "+10.00" in front  # the leakage gap, from a run that the comparison does not hold
    assert f"{leaderboard.TITLE}: synthetic" in front and ">vgg<" not in front
    assert "cnn, random weights" in front and "lowest of the unseen" in front
    assert "Not measured yet" not in front
    assert f"<h3>{validity_sections.STRESS}</h3>" in rest


def test_sections_appear_only_where_the_runs_have_results(root, page_of, quick):
    def titles(run):
        page = page_of(run)
        return re.findall(r"<h3>(.*?)</h3>", page.text), page

    bare, page = titles(fake_runs.fake_run(root, "cnn", test_identity="e" * 16))
    assert not {validity_sections.AUDIT, validity_sections.STRESS, validity_sections.HEATMAPS} & set(bare)
    assert "Not measured yet" in page.shown and "python run_guide.py stress RUN" in page.shown
    full, page = titles(fake_runs.fake_run(root, "resnet50", measured=True))
    assert full[:2] == [validity_sections.AUDIT, validity_sections.STRESS] and full.index(
        validity_sections.HEATMAPS
    ) < full.index("Tables")
    assert re.search(r"Confounded: background alone, [^.]* accuracy of 60\.0 %", page.shown)
    drawn = {values["alt"] for tag, values in page.tags if tag == "img"}
    assert {"Stress test of resnet50", "Faithfulness of resnet50's heatmaps"} <= drawn
    assert page.shown.count("Calibration on the test images, before and after temperature scaling") == 1


def audited(run):
    """Write an audit of a run's split: one pair across the split, one group in two subsets, one of one class."""
    manifest = run.environment()["manifest"]
    Audit(
        dataset=run.config()["dataset"], split=run.config()["split"], seed=42, manifest=manifest,
        images={"train": 120, "val": 40, "test": 40}, classes=[*fake_runs.CLASSES],
        pairs=[PlacedPair("Pre/a.png", "Pre/b.png", "overlap", 9, 9, 0.5, 90, 30, "train", "test")],
        groups=[
            Group("g1", 30, {"Pre": 15, "Pro": 15}, {"train": 20, "test": 10}),
            Group("g2", 10, {"Pro": 10}, {"val": 10}),
        ],
        given=False, clusters=2, stability=[(2, 0.9), (3, 0.5)], together=1.0, agreement=None,
        ladder=shortcuts_file.read(run.root, manifest),
    ).write(audit.folder(run.root, run.config()["dataset"]))  # fmt: skip


def test_an_audit_is_shown_only_with_runs_of_its_split(root, page_of, quick):
    here = fake_runs.fake_run(root, "cnn", measured=True)
    there = fake_runs.fake_run(root, "cnn", split="grouped")
    fake_runs.write_shortcuts(there, {"majority class": 0.25, "background": 0.7})
    bare = fake_runs.fake_run(root, "vgg", split="90/10")
    audited(here)
    page = page_of(here, there, bare)
    parts = {}
    for part in re.split(r'<section id="set\d">', page.text)[1:]:
        parts[re.search(r", (?:split )?([\w/]+)(?: split)?</h2>", part).group(1)] = part
    assert set(parts) == {"64/16/20", "grouped", "90/10"}
    of_split = (
        "1 of 40 test images (2.5 %) show a place that training", "1 of 2 stain groups lie in several subsets",
        "<h4>Images that show one place</h4>", "<h4>Stain groups, in place of patients</h4>",
        "<h4>Image groups</h4>",
    )  # fmt: skip
    for words in of_split:
        assert [name for name, part in parts.items() if words in part] == ["64/16/20"], words
    assert "were counted on split 64/16/20, not on this one." in parts["grouped"]
    for name, share in (("64/16/20", "60.0"), ("grouped", "70.0")):
        assert parts[name].count("Confounded: ") == 1
        assert f"background alone, without stained cells, reaches an accuracy of {share} %" in parts[name]
        for title in ("Shortcut baselines", "Accuracy of the shortcut baselines"):
            assert f"<h4>{title}, split {name}</h4>" in parts[name]
    assert validity_sections.AUDIT not in parts["90/10"] and "Confounded" not in parts["90/10"]
    command = "python run_guide.py audit synthetic --split"
    assert f"The shortcut baselines of split 90/10 are not measured: {command} 90/10" in parts["90/10"]
    assert command not in parts["64/16/20"] + parts["grouped"]


def test_each_table_and_figure_is_shown_once_in_its_section(root, page_of, unrendered):
    runs = [
        fake_runs.fake_run(root, "cnn", accuracy=0.7, measured=True),
        fake_runs.fake_run(root, "vgg", measured=True),
    ]
    page = page_of(*runs)
    sections = {part.partition("</h3>")[0]: part for part in page.text.split("<h3>")[1:]}
    for title, section in (
        ("Under stress: the headline figures, % and points", validity_sections.STRESS),
        ("Under stress: accuracy in % by family of change", validity_sections.STRESS),
        ("All models under stress", validity_sections.STRESS),
        ("Models without a significant difference", validity_sections.CHANCE),
    ):
        assert [name for name, part in sections.items() if f"<h4>{title}</h4>" in part] == [section]
        assert page.text.count(f"<h4>{title}</h4>") == 1
    heads = re.findall(r"<th[^>]*>(.*?)</th>", page.text)
    assert "Unchanged" in heads and not [head for head in heads if "- " in head]


def test_photographs_are_compressed_and_other_figures_are_lossless():
    light = np.random.default_rng(1).integers(-12, 13, (200, 200, 1)) + np.arange(60, 180, 0.6)[:, None, None]
    photograph, lines = style.new_figure(4, 3), style.new_figure(4, 3)
    photograph.subplots().imshow(np.clip(light + np.array([60, 0, 40]), 0, 255).astype(np.uint8))
    lines.subplots().plot([0, 1, 4])
    for figure, size, error in ((photograph, 0.6, 5), (lines, 1, 0)):
        drawn = style.png(figure)
        packed = base64.b64decode(report._picture("a", "b", "c", figure).data)
        before, after = (np.asarray(Image.open(io.BytesIO(each)).convert("RGB"), int) for each in (drawn, packed))
        assert before.shape == after.shape and len(packed) < len(drawn) * size
        assert np.abs(before - after).mean() <= error


def test_hostile_names_are_escaped(root, page_of, unrendered):
    run = fake_runs.fake_run(root, "cnn", classes=HOSTILE, dataset="smears<b>")
    page = page_of(run)
    assert {tag for tag, _ in page.tags} & {"script", "b"} == set()
    assert not [values for _, values in page.tags if any(name.startswith("on") for name in values)]
    for name in HOSTILE:
        assert name in page.shown
    assert all(url.startswith("data:image/webp;base64,") for url in page.loads)


def test_settings_list_hyperparameters_differences_and_shared_fields(root, page_of, quick):
    runs = [
        fake_runs.fake_run(root, "cnn", settings=["batch_size=16", "augmentation.flips=true", "cache_mb=100"]),
        fake_runs.fake_run(root, "vgg", weights="imagenet", settings=["variant=clahe"]),
    ]
    page = page_of(*runs)
    words, differing, shared = re.search(
        "Hyper-parameters: training(.*)Other settings that differ(.*)Other settings that all runs share(.*)", page.shown
    ).groups()
    for field in ("cache_mb", "packages.keras"):
        assert (f" {field} " in differing) != (f" {field} " in shared)
    assert " cache_mb " in differing
    for field in ("cores", "packages.tensorflow", "cpu", "split_seed"):
        assert field in shared and field not in differing
    for field in ("batch_size", "augmentation.flips", "weights", "flavour", "variant.clip", "precision"):
        assert f" {field} " not in differing + shared
    for text in ("clahe (clip 2, 8 x 8 tiles)", "Patience", "ImageNet", "flips"):
        assert text in words


def test_images_are_counted_by_class_and_subset_and_labelled_synthetic(root, page_of, quick):
    run = fake_runs.fake_run(root, "cnn", images=8, dataset="drawn", pictures=True)
    about = paths.raw_dir("drawn") / "dataset.json"
    files.write_json(about, files.read_json(about) | {"synthetic": {"seed": 1}})
    shown = page_of(run).shown
    assert "The images are synthetic" in shown
    assert "Class training validation test All % of all Benign 6 2 2 10 25.0 Early" in shown
    assert "All 24 8 8 40 100.0 % of all 60.0 20.0 20.0 100.0" in shown


def test_published_claims_are_separate_and_only_with_their_dataset(root, page_of, quick):
    page = page_of(fake_runs.fake_run(root, "cnn", dataset="ALL_dataset"))
    before, after = page.text.split('<section id="published">')
    assert "98.93" in after and "98.93" not in before and "github.com" not in before
    assert "98.93" not in page_of(fake_runs.fake_run(root, "cnn", test_identity="e" * 16)).text


def test_commands_reproduce_the_configuration(root, page_of, quick):
    run = fake_runs.fake_run(root, "cnn", seed=7, settings=["batch_size=16", "augmentation.rotation=12.5", "epochs=3"])
    page = page_of(run)
    command = re.search(r"python run_guide.py train cnn (.*?) python run_guide.py report", page.shown).group(1)
    assert command.startswith("--dataset synthetic --seed 7 --set")
    words = shlex.split(command)
    settings = [value for flag, value in pairwise(words) if flag == "--set"]
    held = {name: value for name, value in run.config().items() if name not in ("initialisation", "flavour")}
    made = models.config_for("cnn", settings=settings, dataset="synthetic", seed=7, classes=held["classes"])
    assert made.model_dump(mode="json") == held


def test_commands_list_explained_runs_with_their_methods_and_all_seeds(root, tmp_path):
    runs = [fake_runs.fake_run(root, "cnn", seed=seed, heatmaps=True) for seed in (1, 2, 3)]
    fake_runs.write_heatmaps(runs[1], "scorecam")
    runs[2].file(run_folder.HEATMAPS).write_bytes(b"no archive")
    (both,) = compare(runs)
    assert sorted(notes.commands(both, root)[3:]) == [
        f"python run_guide.py explain {runs[0].id}",
        f"python run_guide.py explain {runs[1].id} --method scorecam",
        f"python run_guide.py explain {runs[2].id}",
        "python run_guide.py report --all-seeds",
    ]
    assert notes.commands(compare(runs[:1])[0], root)[-1] == "python run_guide.py report"


def test_hidden_seeds_are_mentioned(root):
    runs = [fake_runs.fake_run(root, "cnn", seed=seed, finished=seed < 3) for seed in (1, 2, 3)]
    line = "Only one seed of each model is shown; --all-seeds adds the others."
    alone, both = (compare(each)[0] for each in (runs[:1], runs[:2]))
    assert line in notes.missing(alone, root) and line not in notes.missing(both, root)
    runs[1].file("config.json").unlink()
    assert any(said.startswith("No model was trained with several seeds") for said in notes.missing(alone, root))


def test_the_origin_of_the_images_is_given_unless_it_is_the_name_or_damaged(root):
    path = paths.raw_dir("smears") / "dataset.json"
    for content in ('{"source": "smears"}', "[]", "null", '"text"', "{", ""):
        files.write_text(path, content)
        assert notes.origin("smears") == "", content
    files.write_json(path, {"source": "smears.zip"})
    assert notes.origin("smears") == "Source of the images: smears.zip"


def test_runs_on_other_images_have_their_own_part(root, page_of, quick):
    runs = [fake_runs.fake_run(root, "cnn"), fake_runs.fake_run(root, "vgg", dataset="other", test_identity="e" * 16)]
    page = page_of(*runs)
    heads = re.findall(r"<h2>(.*?)</h2>", page.text)
    assert heads[0] == report.FRONT
    assert set(heads[1:3]) == {f"{name}: 40 test images, split 64/16/20" for name in ("synthetic", "other")}
    assert {"set1-tables", "set2-tables"} <= page.anchors
    assert "2 different test sets" in page.shown


def test_missing_parts_are_listed(root, page_of, quick):
    run = fake_runs.fake_run(root, "cnn", heatmaps=True)
    run.file(run_folder.HEATMAPS).write_bytes(b"no archive")
    run.manifest_path().unlink()
    shown = page_of(run).shown
    for line in (
        "Only one run",
        "No model was trained with several seeds",
        "heatmaps.npz is damaged",
        "The manifest of the split is missing",
        "The images of 'synthetic' are not available",
    ):
        assert line in shown
