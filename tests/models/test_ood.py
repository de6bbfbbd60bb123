"""Out-of-distribution rejection: drawn images are rejected, test images are not; the reference file is safe."""

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest
from checks import one_line_error
from command_line import packages_of
from real_dataset import real_dataset

from data import manifest
from data.datasets import image_decoder
from data.ood import image_statistics, ood_images, reference_distribution
from data.splitting import splits
from data.synthetic import generator as synthetic
from guide import refusal
from models.engine.robustness import ood_benchmark
from utils.errors import LeukoBenchError
from utils.paths import PROJECT
from utils.runs import ood_file
from utils.runs.ood_file import DRAWN, ENERGY, STATISTICS, TEST, Refused
from utils.tables import ood as ood_tables
from utils.tables.ood import LEAST, MOST

RESULTS = PROJECT / "docs" / "results"
SIDES = (96, 160, 224, 320)  # pixels, in turn
EACH, FEW = 20, 8  # images of each held-out family, and of each other one
SHAPE = image_statistics.statistics(np.zeros((9, 9, 3), np.uint8)).shape
DAMAGE = (
    lambda content: b"",
    lambda content: b"no archive",
    lambda content: content[: len(content) // 2],
    lambda content: content[:200] + bytes(255 - byte for byte in content[200:400]) + content[400:],
)


@pytest.fixture(scope="module")
def others():
    """Statistics of drawn pictures by family."""
    found = {}
    with ThreadPoolExecutor(2) as pool:
        for family in ood_images.FAMILIES:
            numbers = range(EACH if family in ood_images.HELD_OUT else FEW)
            pictures = pool.map(partial(ood_images.draw, family), numbers, cycle(SIDES))
            found[family] = np.stack(list(map(image_statistics.statistics, pictures)))
    return found


@pytest.fixture(scope="module")
def smears(home):
    """A split of drawn smears, the root it has its reference in, and that reference."""
    synthetic.make("refusal", images_per_class=60, size=64, patients=6, seed=3)
    split, root = splits.prepare_split("refusal"), home / "refusal-runs"
    return split, root, reference_distribution.ensure(root, split)


def caught(known, vectors):
    return float((known.distance(vectors) > known.limit).mean())


def assert_bounds(known, test, others):
    """Assert the documented bounds: few false rejections, and nearly all images of held-out families rejected."""
    assert caught(known, test) <= MOST
    held_out = {family: others[family] for family in ood_images.HELD_OUT}
    assert sum(map(len, held_out.values())) >= 120
    assert caught(known, np.concatenate(list(held_out.values()))) >= LEAST
    for family, vectors in others.items():
        assert caught(known, vectors) >= 0.9, family


@pytest.mark.slow
def test_drawn_smears_are_accepted_and_other_images_rejected(smears, others):
    split, _, known = smears
    test = reference_distribution.measure([split.path / row.split / row.image for row in split.manifest.subset("test")])
    assert len(test) == 48
    assert_bounds(known, test, others)


@pytest.mark.slow
def test_samples_of_the_web_page_are_near_the_demo_dataset(home):
    """They have another size and other patients."""
    synthetic.make("refusal-demo", images_per_class=40)
    known = reference_distribution.ensure(home / "refusal-runs", splits.prepare_split("refusal-demo"))
    samples = sorted((PROJECT / "docs" / "samples").glob("*.png"))
    assert len(samples) == 4
    assert caught(known, reference_distribution.measure(samples)) == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["5981e8c9d7b78b52", "5021fd9f5b2bc9eb"])
def test_real_smears_are_near_their_published_reference(name, others):
    """The first manifest is split by image, the second by stain group."""
    there = {path.name: path for path in real_dataset().rglob("*.jpg")}
    rows = manifest.read(RESULTS / "manifests" / f"{name}.csv").subset("test")
    known = reference_distribution.read(RESULTS, name)
    assert_bounds(known, reference_distribution.measure([there[Path(row.image).name] for row in rows]), others)


@pytest.mark.slow
def test_families_are_disjoint_and_drawing_is_deterministic():
    assert not set(ood_images.DEVELOPMENT) & set(ood_images.HELD_OUT)
    for family in ood_images.FAMILIES:
        first, again, other = (ood_images.draw(family, number) for number in (2, 2, 3))
        assert np.array_equal(first, again) and not np.array_equal(first, other), family
        assert first.dtype == np.uint8 and first.shape[2:] == (3,)
        assert 96 <= max(first.shape) <= 512
        assert max(ood_images.draw(family, 1, 130).shape) == 130
    with one_line_error("'nois'", "'noise'?"):
        ood_images.draw("nois", 0)


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 300), (300, 1), (2, 3), (47, 48), (224, 224), (63, 65), (2000, 10), (8000, 1), (1, 8000)]
)
def test_statistics_are_finite_and_repeatable_for_every_shape(shape):
    rng = np.random.default_rng(1)
    flat = [np.full((*shape, 3), level, np.uint8) for level in (0, 255)]
    for picture in (rng.integers(0, 256, (*shape, 3), np.uint8), *flat):
        before = picture.copy()
        found = image_statistics.statistics(picture)
        assert found.dtype == np.float32 and found.shape == SHAPE
        assert np.isfinite(found).all()
        assert np.array_equal(found, image_statistics.statistics(picture[::1, ::1])) and np.array_equal(picture, before)
        turned = np.asfortranarray(picture)  # the same pixels in another memory order
        assert np.array_equal(found, image_statistics.statistics(turned))


def test_the_limit_depends_on_validation_images_only():
    rng = np.random.default_rng(0)
    train, val = rng.normal(size=(300, 12)), rng.normal(size=(80, 12))
    known = reference_distribution.fit(train, val)
    assert known.limit == reference_distribution.limit_of(known.distance(val))
    wider = reference_distribution.fit(train, 2 * val)
    assert wider.limit > known.limit and np.array_equal(wider.whitening, known.whitening)
    assert known.distance(train).mean() == pytest.approx(1, abs=0.1)
    near, far = known.judge(train[0]), known.judge(train[0] + 9)
    assert near.near and near.distance <= near.limit == known.limit
    assert not far.near and far.distance > far.limit
    assert reference_distribution.limit_of(np.array([2.0, 2, 2])) == 2


def test_a_constant_statistic_does_not_break_the_reference():
    train = np.random.default_rng(0).normal(size=(50, 5))
    train[:, 2] = 0.25
    known = reference_distribution.fit(train, train)
    assert np.isfinite(known.limit) and known.judge(train[3]).near
    odd = train[3].copy()
    odd[2] = 0.75
    assert not known.judge(odd).near


def test_a_reference_is_computed_once_and_read_back(smears, monkeypatch):
    split, root, known = smears
    file = reference_distribution.path(root, split.manifest.hash)
    assert file == root / "reference" / f"{split.manifest.hash}.npz" and file.stat().st_size < 1_000_000
    kept = reference_distribution.read(root, split.manifest.hash)
    vector = image_statistics.statistics(np.full((30, 40, 3), 200, np.uint8))
    assert kept.judge(vector) == known.judge(vector)
    monkeypatch.setattr(reference_distribution, "measure", lambda *paths: pytest.fail("the images are read again"))
    assert reference_distribution.ensure(root, split).limit == known.limit
    assert reference_distribution.read(root, "0123456789abcdef") is None


def test_a_damaged_reference_is_reported_and_replaced(smears, tmp_path):
    split, root, known = smears
    whole = reference_distribution.path(root, split.manifest.hash).read_bytes()
    file = reference_distribution.path(tmp_path, split.manifest.hash)
    file.parent.mkdir()
    pickled = io.BytesIO()
    np.savez(pickled, **{name: np.array([{}], dtype=object) for name in reference_distribution.FIELDS})
    for damage in (*DAMAGE, lambda _: pickled.getvalue()):
        file.write_bytes(damage(whole))
        with pytest.raises(LeukoBenchError, match=f"{file} is damaged .*run_guide.py refusal"):
            reference_distribution.read(tmp_path, split.manifest.hash)
    assert reference_distribution.ensure(tmp_path, split).limit == known.limit
    assert reference_distribution.read(tmp_path, split.manifest.hash).limit == known.limit
    for wrong in (
        {"whitening": known.whitening[:-1]},
        {"scale": known.scale * 0},
        {"limit": float("nan")},
        {"centre": np.append(known.centre, 1)},
    ):
        reference_distribution.write(file, replace(known, **wrong))
        with one_line_error(f"{file} is damaged"):
            reference_distribution.read(tmp_path, split.manifest.hash)


def test_a_reference_of_another_version_is_replaced(smears, tmp_path, monkeypatch):
    split, _, known = smears
    reference_distribution.write(reference_distribution.path(tmp_path, split.manifest.hash), known)
    monkeypatch.setattr(image_statistics, "VERSION", image_statistics.VERSION + 1)
    assert reference_distribution.read(tmp_path, split.manifest.hash) is None
    reference_distribution.ensure(tmp_path, split)
    assert reference_distribution.read(tmp_path, split.manifest.hash) is not None


def test_distances_need_neither_tensorflow_nor_scikit_learn(smears):
    split, root, _ = smears
    program = (
        "import sys; from pathlib import Path; import numpy as np\n"
        "from data.ood import image_statistics, reference_distribution\n"
        "known = reference_distribution.read(Path(sys.argv[1]), sys.argv[2])\n"
        "print(known.judge(image_statistics.statistics(np.zeros((50, 60, 3), np.uint8))).near)"
    )
    shown, packages = packages_of(program, root, split.manifest.hash)
    assert shown == "False\n" and not packages & {"sklearn", "keras", "tensorflow", "scipy", "pandas"}


def test_evaluation_writes_the_reference(small_run):
    known = reference_distribution.read(small_run.root, small_run.environment()["manifest"])
    assert known is not None and not known.judge(image_statistics.statistics(ood_images.draw("photograph", 1))).near


def test_scores_of_a_model():
    logits = np.array([[9.0, 0, 0], [1, 1, 1], [40, 0, 0]], np.float32)
    odds = ood_benchmark.log_odds_against(logits)
    assert odds[1] > odds[0] > odds[2] == pytest.approx(np.log(2) - 40)
    rng = np.random.default_rng(0)
    labels = np.repeat(["a", "b"], 40)
    features = rng.normal(size=(80, 3)) + np.where(labels == "a", 0, 30)[:, None]
    far = ood_benchmark.nearest_class(np.column_stack([features, np.zeros(80)]), labels)
    between, inside = np.array([[15.0, 15, 15, 0]]), np.array([[30.0, 30, 30, 0]])
    assert far(between)[0] > 5 * far(inside)[0]
    assert ood_benchmark.auroc(np.array([2.0, 3]), np.array([0.0, 1])) == 1
    assert ood_benchmark.auroc(np.array([1.0, 0]), np.array([0.0, 1])) == 0.5


@pytest.mark.slow
def test_command_measures_every_method_and_keeps_other_runs(run, capsys):
    name, root = run.environment()["manifest"], run.root
    reference_distribution.path(root, name).unlink()
    refusal.refusal(["cnn"], pictures=2, root=root)
    shown = capsys.readouterr().out
    assert f"with {run.id}" in shown and "Research only" in shown
    assert reference_distribution.read(root, name) is not None  # computed because it was missing
    path = ood_file.path(root, name)
    assert str(path) in shown
    rows = ood_file.read(root, name)
    assert {row.method for row in rows} == set(ood_file.METHODS)
    assert {row.run for row in rows} == {"", run.id}
    assert {row.family: row.held_out for row in rows if row.kind == DRAWN} == {
        family: family in ood_images.HELD_OUT for family in ood_images.FAMILIES
    }
    assert all(row.images == (16 if row.kind == TEST else 2) for row in rows)
    found = ood_file.merge(root, name, [replace(row, run=row.run and "cnn/other") for row in rows])
    assert found == path and {row.run for row in ood_file.read(root, name)} == {"", run.id, "cnn/other"}
    ood_file.merge(root, name, [replace(row, images=row.images + 1) for row in rows])
    # Other runs were measured on other images.
    assert {row.run for row in ood_file.read(root, name)} == {"", run.id}


def test_tables_and_sentences():
    rows = [
        Refused(TEST, "test images", False, 652, STATISTICS, "", 2),
        Refused(DRAWN, "round things", False, 100, STATISTICS, "", 99, 1.0),
        Refused(DRAWN, "real picture", True, 100, STATISTICS, "", 97, 0.999),
        Refused(TEST, "test images", False, 652, ENERGY, "cnn/20261121T172008Z-04f9e83e", 0),
        Refused(DRAWN, "real picture", True, 100, ENERGY, "cnn/20261121T172008Z-04f9e83e", 1, 0.5),
    ]
    row = ood_tables.table(rows, "cnn/20261121T172008Z-04f9e83e").rows[2]
    assert row == ["real picture", "yes", "100", "97.0", "–", "1.0", "–"]
    assert [row[0] for row in ood_tables.summary(rows, "x").rows] == [STATISTICS, ENERGY]
    assert ood_tables.summary(rows, "x").rows[0][2:] == ["0.31", "99.0", "97.0", "97.0", "0.9990"]
    assert ood_tables.sentences(rows) == [
        "Statistics reject 0.31 % (0.1-1.1) of 652 test images; the target is at most 2 %.",
        "They reject 97.00 % (91.5-99.0) of 100 pictures of the held-out families; the target is at least 98 %.",
    ]


def test_an_unfinished_run_and_a_damaged_file_are_reported(run, guide):
    run.file("metrics.json").unlink()
    done = guide("refusal", "cnn", "--root", str(run.root))
    assert done.returncode == 1 and f"run_guide.py evaluate {run.id}" in done.stderr
    path = ood_file.path(run.root, "x")
    path.write_text(",".join(ood_file.COLUMNS) + "\ntest,test images,perhaps,1,energy,,1,,1\n")
    with pytest.raises(LeukoBenchError, match=f"{path} is damaged.*run_guide.py refusal"):
        ood_file.read(run.root, "x")


def test_the_document_shows_the_published_results():
    text = (PROJECT / "docs" / "refusal.md").read_text(encoding="utf-8")
    assert f" {SHAPE[0]} numbers" in text
    for path in sorted((RESULTS / "reference").glob("*.csv")):
        rows = ood_file.read(RESULTS, path.stem)
        for sentence in ood_tables.sentences(rows):
            assert sentence in text
        shown = [ood_tables.table(rows, run) for run in ood_file.runs(rows) if f"`{run}`" in text]
        assert shown
        for table in (ood_tables.summary(rows, ""), *shown):
            for row in table.rows:
                assert f"| {' | '.join(' '.join(cell.split()) for cell in row)} |" in text


def test_images_are_read_as_by_the_web_page(tmp_path):
    from PIL import Image

    picture = ood_images.draw("histology", 4)
    Image.fromarray(picture).save(tmp_path / "a.png")
    assert np.array_equal(reference_distribution.measure([tmp_path / "a.png"])[0], image_statistics.statistics(picture))
    assert np.array_equal(np.asarray(image_decoder.open_rgb(tmp_path / "a.png")), picture)
    with pytest.raises(LeukoBenchError, match=r"^There is no image .*gone\.png\.$"):
        reference_distribution.measure([tmp_path / "gone.png"])
