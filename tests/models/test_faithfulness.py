"""Faithfulness measures: exact values, informed and uninformed maps, and a planted shortcut."""

import numpy as np
import pytest
from checks import one_line_error
from PIL import Image

import models
from data.imaging import nucleus_segmentation
from data.imaging.nucleus_masks import knows_nuclei, nucleus_masks
from data.manifest import Row, from_rows
from data.synthetic import generator as synthetic
from guide import faithfulness as command
from models.engine.backend import keras_backend
from models.engine.evaluation import evaluator
from models.engine.explain import cam, deletion_insertion, explainer, faithfulness, sanity_check
from models.engine.explain import road as road_imputation
from models.engine.explain.faithfulness import Score
from models.engine.run_io import run_loader
from models.engine.training import trainer
from utils.errors import LeukoBenchError
from utils.io import files
from utils.paths import raw_dir
from utils.runs import faithfulness_file, run_folder, seal
from utils.runs.run_folder import Run
from utils.tables import faithfulness as faithfulness_tables
from visualization.displays import faithfulness as figures

SIDE = 12  # pixels of constructed images
CORNER = 17  # pixels of the planted square, of 48


def corner(batch):
    """A model whose probability of class 1 is the brightness of the first pixel."""
    bright = batch[:, 0, 0, 0] / 255
    return np.stack([1 - bright, bright], axis=1)


def square(batch):
    """A model whose probability of class 1 is the roughness of the upper left, which blur and imputation remove."""
    part = batch[:, : 2 * SIDE // 3, : 2 * SIDE // 3]
    rough = np.abs(np.diff(part, axis=2)).mean(axis=(1, 2, 3)) / 127.5
    strength = np.clip(rough, 0, 1)
    return np.stack([1 - strength, strength], axis=1)


@pytest.mark.parametrize(
    ("values", "area"),
    [
        # The bright pixel first: 200 50 50 50 50, of which trapezoids a quarter wide; then last: 200 200 200 200 50.
        ([[4, 3], [2, 1]], (125 * 0.25 + 50 * 0.75) / 255),
        ([[1, 2], [3, 4]], (200 * 0.75 + 125 * 0.25) / 255),
    ],
)
def test_area_under_the_deletion_curve(values, area):
    image = np.zeros((2, 2, 3), np.float32)
    image[0, 0] = 200  # the mean colour, which removed pixels get, is 50
    curve = deletion_insertion.deletion_curve(corner, image, np.array(values), target=1, steps=4)
    assert deletion_insertion.area(curve) == pytest.approx(area)


def test_insertion_starts_blurred_and_ends_complete():
    image = np.zeros((20, 20, 3), np.float32)
    image[0, 0] = 255
    first, last = np.zeros((20, 20)), np.ones((20, 20))
    first[0, 0], last[0, 0] = 1, 0
    known = deletion_insertion.insertion_curve(corner, image, first, target=1, steps=4)
    missed = deletion_insertion.insertion_curve(corner, image, last, target=1, steps=4)
    blurred = known[0]
    assert 0 < blurred < 0.2, "the corner is hidden by the blur"
    np.testing.assert_allclose(known, [blurred, 1, 1, 1, 1], rtol=1e-5)
    np.testing.assert_allclose(missed, [blurred] * 4 + [1], rtol=1e-5)


def test_imputed_pixels_are_the_weighted_mean_of_their_neighbours():
    rng = np.random.default_rng(0)
    image, removed = rng.uniform(0, 255, (9, 7, 3)), rng.random((9, 7)) < 0.5
    filled = road_imputation.imputed(image, removed, noise=0).astype(np.float64)
    np.testing.assert_allclose(filled[~removed], image[~removed], rtol=1e-6)
    for y, x in np.argwhere(removed):
        near = [(y + dy, x + dx, 1 / 12 if dy and dx else 1 / 6) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]
        near = [(i, j, weight) for i, j, weight in near if 0 <= i < 9 and 0 <= j < 7]
        mean = sum(weight * filled[i, j] for i, j, weight in near) / sum(weight for *_, weight in near)
        np.testing.assert_allclose(filled[y, x], mean, atol=1e-3)
    noisy = road_imputation.imputed(image, removed, seed=1)
    assert 1 < (noisy - filled)[removed].std() < 4 and not (noisy - filled)[~removed].any()


def test_an_informed_map_is_best_by_every_measure():
    rng = np.random.default_rng(1)
    side = 2 * SIDE
    images = np.full((8, side, side, 3), 128.0, np.float32)
    patch = np.zeros((side, side), np.float32)
    patch[: 2 * SIDE // 3, : 2 * SIDE // 3] = 1
    images += (rng.choice([-127.0, 127.0], (8, side, side, 1)) * (0.2 + 0.8 * patch[..., None])).astype(np.float32)
    maps = {
        "patch": np.repeat(patch[None], 8, axis=0),
        "random": faithfulness.baseline_maps("random", 8, side, seed=3),
        "centre": faithfulness.baseline_maps("centre", 8, side, seed=0),
        "inverse": np.repeat(1 - patch[None], 8, axis=0),
    }
    assert {each.shape for each in maps.values()} == {(8, side, side)}
    rows = []
    for name, each in maps.items():
        curves = faithfulness.perturbed(square, images, each, [1] * 8, 0)
        rows.append({"method": name} | {key: score(name, *curves).values(key) for key in faithfulness_tables.RANKED})
    known, random, centre, inverse = rows
    for other in (random, centre, inverse):
        assert (known["deletion_auc_mean"] < other["deletion_auc_mean"]).all()
        assert (known["insertion_auc"] > other["insertion_auc"]).all()
        assert (known["road"] > other["road"]).all()
    assert np.abs(random["road"].mean()) < 0.15 < known["road"].mean(), "random maps are near zero"
    assert inverse["road"].mean() < 0
    # The patch is in a corner: a blob in the centre must not be better than random maps.
    assert centre["deletion_auc_mean"].mean() > random["deletion_auc_mean"].mean()
    assert centre["road"].mean() < random["road"].mean()


def test_localisation_measures(home):
    names = sorted(f"{path.parent.name}/{path.name}" for path in raw_dir("tiny").glob("[!_]*/*.png"))[::6]
    masks = nucleus_masks("tiny", names, 48)
    assert knows_nuclei("tiny") and masks.shape == (len(names), 48, 48)
    share = masks.mean(axis=(1, 2))
    assert (share > 0).all()
    np.testing.assert_allclose(faithfulness.mass_inside(masks * 0.7, masks), 1)
    np.testing.assert_allclose(faithfulness.mass_inside(~masks * 1.0, masks), 0)
    for flat in (np.ones(masks.shape), np.zeros(masks.shape)):
        np.testing.assert_allclose(faithfulness.mass_inside(flat, masks), share)
    assert (faithfulness.pointing(masks * 1.0, masks) == 1).all()
    chance = faithfulness.pointing(np.ones(masks.shape), masks)
    assert (chance >= share).all() and chance.mean() < 2.5 * share.mean(), "a flat map hits by its share of the area"
    empty = np.zeros((1, 48, 48), bool)
    for measure in (faithfulness.mass_inside, faithfulness.pointing):
        assert np.isnan(measure(empty + 1.0, empty))


def test_the_pointing_game_has_its_tolerance_and_no_more():
    mask, values = np.zeros((1, 100, 100), bool), np.zeros((3, 100, 100))
    mask[:, 40:60, 40:60] = True
    for each, column in zip(values, (50, 62, 63), strict=True):
        each[50, column] = 1
    assert faithfulness.pointing(values, np.repeat(mask, 3, axis=0)).tolist() == [1, 1, 0]


@pytest.mark.parametrize("kind", synthetic.STAINS[:2])
def test_true_masks_are_taken_where_a_dataset_has_them_and_colour_tells_them_elsewhere(home, kind):
    dataset = f"unmasked-{kind}"
    folder = synthetic.make(dataset, images_per_class=3, size=128, stain=kind, seed=3)
    names = sorted(path.relative_to(folder).as_posix() for path in folder.glob("[!_]*/*.png"))
    true = nucleus_masks(dataset, names, 64)
    (folder / "_masks").rename(home / f"masks-of-{dataset}")
    assert not knows_nuclei(dataset) and len(names) == 12
    found = nucleus_masks(dataset, names, 64)
    dice = [nucleus_segmentation.overlap(*pair)[0] for pair in zip(found, true, strict=True)]
    for label, each in zip(synthetic.CLASSES, np.reshape(dice, (4, 3)), strict=True):
        assert each.min() < 1 and each.mean() >= 0.8, label  # the bound that docs/heatmaps.md names


def test_gradcam_of_a_network_that_reads_nuclei_is_inside_nuclei(home):
    import keras

    keras_backend.start()
    inputs = keras.Input((48, 48, 3))
    stain = keras.layers.Conv2D(1, 1, activation="relu", name="stain")(inputs)  # nuclei let blue pass and red not
    outputs = keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(stain))
    model = keras.Model(inputs, outputs)
    model.get_layer("stain").set_weights([np.reshape([-1.0, 0, 0.9], (1, 1, 3, 1)), np.zeros(1)])
    model.layers[-1].set_weights([np.array([[1.0, -1.0]]), np.zeros(2)])
    names = sorted(f"{path.parent.name}/{path.name}" for path in raw_dir("tiny").glob("[!_]*/*.png"))[::10]
    pixels = np.stack([np.asarray(Image.open(raw_dir("tiny") / name)) for name in names]).astype(np.float32)
    masks = nucleus_masks("tiny", names, 48)
    maps = cam.heatmaps(model, pixels, [0] * len(names), "gradcam", "stain")
    assert faithfulness.mass_inside(maps, masks).mean() > 2.5 * masks.mean()
    assert faithfulness.pointing(maps, masks).mean() > 0.8


def test_an_edge_detector_fails_the_sanity_check_and_weights_are_restored(small_run):
    model, config = run_loader.open_model(small_run, logits=True), run_loader.config_of(small_run)
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    before, seen = model.get_weights(), []

    def explain():
        changed = [not np.array_equal(*pair) for pair in zip(model.get_weights(), before, strict=True)]
        seen.append(changed)
        edges = np.abs(np.diff(pixels.mean(axis=-1), axis=2, prepend=0))
        layers = [weights.ravel()[:48] for weights in model.get_weights()[::2]]  # a map of the first layer's weights
        return np.stack([edges, np.resize(layers[0], edges.shape)])

    found = sanity_check.cascade(model, sanity_check.untrained(config, 1, count=2), explain)
    assert found.shape == (2, len(sanity_check.STAGES))
    np.testing.assert_allclose(found[0], 1)
    assert found[1, 0] == pytest.approx(1), "the first layer is randomised last"
    assert abs(found[1, -1]) < faithfulness_tables.SAME
    kernels = [each[0::2] for each in seen[1:5]]  # biases may be zero before and after
    assert not any(seen[0]) and all(kernels[-1]) and kernels[0] == [False] * (len(kernels[0]) - 1) + [True]
    assert all(np.array_equal(*pair) for pair in zip(model.get_weights(), before, strict=True))


def test_similarity_is_a_rank_correlation():
    rng = np.random.default_rng(5)
    maps = rng.random((1, 9, 9))
    flat = np.zeros((1, 9, 9))
    assert sanity_check.similarity(maps, maps**5) == pytest.approx(1)
    assert sanity_check.similarity(maps, -maps) == pytest.approx(-1)
    assert sanity_check.similarity(maps, flat) == 0 and sanity_check.similarity(flat, flat + 1) == 1


@pytest.fixture(scope="module")
def cornered(home):
    """A run of `cnn` on smears with the class painted into a corner without nuclei."""
    folder = synthetic.make("cornered", images_per_class=30, size=48, patients=2, seed=9)
    colours = dict(zip(synthetic.CLASSES, [(250, 60, 60), (60, 250, 60), (60, 60, 250), (250, 250, 60)], strict=True))
    rng = np.random.default_rng(0)
    for path in folder.glob("[!_]*/*.png"):
        mask = folder / "_masks" / path.parent.name / path.name
        picture, nuclei = Image.open(path).convert("RGB"), Image.open(mask)
        tint = tuple(int(value + rng.integers(-5, 6)) for value in colours[path.parent.name])
        for image, value in ((picture, tint), (nuclei, 0)):
            image.paste(value, (48 - CORNER, 48 - CORNER, 48, 48))
        picture.save(path)
        nuclei.save(mask)
    fields = {"filters": (8, 16), "dense": 16, "batch_size": 16, "learning_rate": 3e-3, "heatmap_layer": "conv2"}
    config = models.config_for("cnn", dataset="cornered", image_size=48, epochs=15, **fields)
    return evaluator.evaluate(trainer.train(config, home / "cornered-runs"))


@pytest.mark.slow
def test_a_shortcut_in_the_corner_is_found(cornered, capsys):
    assert cornered.metrics()["test"]["accuracy"] > 0.95
    command.faithfulness(str(cornered.path), images=16, method=[command.Method.GRADCAM])
    shown = capsys.readouterr().out
    rows = {row["method"]: row for row in faithfulness_file.read(cornered)}
    assert next(iter(rows)) == "gradcam" and set(rows) == {"gradcam", "centre", "random"}
    gradcam, centre, random = (rows[name] for name in ("gradcam", "centre", "random"))
    for baseline in (centre, random):
        assert gradcam["deletion_auc_mean"] < baseline["deletion_auc_mean"]
        assert gradcam["insertion_auc"] > baseline["insertion_auc"]
        assert gradcam["road"] > baseline["road"]
        assert baseline["randomisation"] == 1
    assert gradcam["nucleus_mass"] < 0.8 * gradcam["nucleus_area"], "faithful, and not to the cells"
    assert gradcam["randomisation"] < faithfulness_tables.SAME
    assert "Most faithful: gradcam. Mean rank 1.0 of 3 by deletion, insertion and ROAD (" in shown
    assert "The configuration agrees: heatmap_method is gradcam." in shown
    assert "nuclei from the drawing" in shown and "3 of 3 measures differ" in shown
    assert cornered.file("figures/faithfulness.png").stat().st_size > 10_000
    curves = faithfulness_file.read_curves(cornered)
    shares, values = curves["gradcam", "deletion"]
    assert len(shares) == deletion_insertion.STEPS + 1 and values[0] > 0.7 and values[-1] < 0.5
    assert np.trapezoid(values, shares) == pytest.approx(gradcam["deletion_auc_mean"], abs=1e-4)


@pytest.mark.slow
def test_half_of_the_heatmap_is_on_the_planted_corner(cornered):
    explainer.explain(cornered, "gradcam")
    with np.load(cornered.file(run_folder.HEATMAPS), allow_pickle=False) as kept:
        maps = kept["map"][kept["method"] == "gradcam"].astype(np.float64)
    mass = maps.sum(axis=(1, 2))
    assert (mass > 0).all()
    share = maps[:, 48 - CORNER :, 48 - CORNER :].sum(axis=(1, 2)) / mass
    assert np.mean(share) >= 0.5, "a uniform map would have the square's share of the area, 0.13"


@pytest.mark.slow
def test_all_methods_of_an_older_run_are_measured(cornered, capsys):
    earlier = {key: value for key, value in cornered.config().items() if key != "heatmap_method"}
    files.write_json(cornered.file(run_folder.CONFIG), earlier)
    cornered.file(seal.FILE).unlink()
    command.faithfulness(str(cornered.path), images=12)
    rows = files.read_csv(cornered.file("faithfulness.csv"), faithfulness.HEADER)
    assert {row["method"] for row in rows} == {"gradcam", "gradcam++", "scorecam", "random", "centre"}
    assert {row["images"] for row in rows} == {"12"}
    shown = capsys.readouterr().out
    assert "heatmaps on 12 test images" in shown and f"Most faithful: {rows[0]['method']}." in shown
    before = cornered.file("faithfulness.csv").read_bytes()
    faithfulness.measure(cornered, 12, ["gradcam"])
    assert cornered.file("faithfulness.csv").read_bytes().splitlines()[1] in before.splitlines()
    with one_line_error("'rollout'", "cnn, a convolutional model"):
        faithfulness.measure(cornered, 12, ["rollout"])


def score(name, deletion, insertion, road):
    """A score with only its curves."""
    one = np.ones(len(deletion))
    return Score(name, deletion, insertion, road, one, one, one, np.array([0.1]), 0)


def row(method, deletion, insertion=None, road=None, randomisation=None, mass=None):
    given = (method, 10, deletion, 0.1, deletion - 0.01, deletion + 0.01, insertion, road, mass, 0.2, None)
    return dict(zip(faithfulness_file.HEADER, (*given, randomisation, 42), strict=True))


RANDOM, CENTRE = row("random", 0.6, 0.3, 0.0, 1.0), row("centre", 0.5, 0.4, 0.1, 1.0)


def test_the_best_method_that_passes_the_sanity_check_is_suggested():
    better, worse = row("gradcam", 0.2, 0.8, 0.3, 0.1, mass=0.4), row("gradcam++", 0.3, 0.9, 0.2, 0.1)
    rows = [RANDOM, worse, CENTRE, better]
    assert faithfulness_tables.suggestion(rows) == "gradcam"
    assert faithfulness_tables.mean_ranks(rows)["gradcam"] == pytest.approx(4 / 3)
    said = " ".join(faithfulness_tables.sentences(rows, "gradcam++"))
    assert "explain --method gradcam" in said
    assert "40.0 % of its heatmaps" in said and "20.0 % of the area" in said
    blind = row("rollout", 0.1, 0.95, 0.5, 0.9)
    assert faithfulness_tables.suggestion([*rows, blind]) == "gradcam"
    said = " ".join(faithfulness_tables.sentences([*rows, blind], "gradcam"))
    assert "rollout fails the sanity check" in said and "by 0.90" in said
    assert "The configuration agrees: heatmap_method is gradcam." in said


def test_no_method_is_suggested_that_equals_a_baseline():
    idle = row("gradcam", 0.55, 0.35, 0.05, 0.1)
    assert faithfulness_tables.suggestion([idle, CENTRE, RANDOM]) == ""
    assert faithfulness_tables.sentences([idle, CENTRE, RANDOM], "gradcam")[0].startswith("No method")
    good = row("gradcam++", 0.2, 0.8, 0.3, 0.1)
    said = faithfulness_tables.sentences([idle, good, CENTRE, RANDOM], "gradcam++")
    assert any(line.startswith("No better than") and line.endswith("gradcam.") for line in said)


def test_files_of_older_versions_are_read(tmp_path):
    run = Run(tmp_path / "vit_b16" / "20260101T000000Z-00000000")
    header = "method,images,deletion_auc_mean,deletion_auc_sd,low,high,seed"
    text = f"{header}\nrollout,300,0.7,0.3,0.69,0.71,42\nrandom,300,0.8"
    files.write_text(run.file(faithfulness_file.FILE), text + ",0.2,0.79,0.81,42\n")
    files.write_json(run.file("config.json"), dict.fromkeys(("model", "seed", "classes", "image_size", "weights"), 0))
    rows = faithfulness_file.read(run)
    assert rows[0]["deletion_auc_mean"] == 0.7 and rows[0]["road"] is None and rows[0]["randomisation"] is None
    assert faithfulness_tables.suggestion(rows) == "rollout" and faithfulness_file.read_curves(run) == {}
    said = faithfulness_tables.sentences(rows, "rollout")
    assert said[0].startswith("Most faithful: rollout. Mean rank 1.0 of 2 by deletion (")
    assert "The sanity check was not made." in said
    assert faithfulness_tables.table(rows, "t").rows[0][:3] == ["Attention rollout", "1.0", "0.700"]
    display = figures.FaithfulnessDisplay.from_run(run)
    assert display.measures == ["deletion_auc_mean"]
    run.file(faithfulness_file.FILE).write_text(text.replace("0.7,", "much,"))
    with pytest.raises(LeukoBenchError, match=r"is damaged .*Make it with: python run_guide.py faithfulness vit_b16/"):
        faithfulness_file.read(run)
    run.file(faithfulness_file.FILE).unlink()
    with pytest.raises(LeukoBenchError, match=r"^Run vit_b16/\S+ has no faithfulness.csv\. Make it with: "):
        faithfulness_file.read(run)


def test_the_sample_is_stratified():
    rows = [
        Row(f"{label}/{i}.png", label, "test", "", f"{hash_of:064x}")
        for label, count in (("A", 40), ("B", 20), ("C", 4))
        for i in range(count)
        for hash_of in [(i * 7919 + len(label) + count) % 1009 * 16**50]
    ]
    manifest = from_rows(rows)
    chosen = faithfulness.sample(manifest, 16)
    assert [sum(name.startswith(label) for name in chosen) for label in "ABC"] == [10, 5, 1]
    assert chosen == faithfulness.sample(from_rows(rows[::-1]), 16)
    assert len(faithfulness.sample(manifest, 1000)) == 64


def test_two_methods_are_compared_on_the_same_images():
    rng = np.random.default_rng(2)
    falling = rng.uniform(0.3, 0.6, (50, 29))
    road = rng.uniform(0.3, 0.6, (50, 3, 2))
    noise = rng.normal(0, 0.2, (50, 1))
    better = score("gradcam", falling - 0.1, falling, road + np.array([0, 0.1]))
    said = faithfulness.against(better, score("rollout", falling, falling + noise - noise.mean(), road))
    assert said.startswith("gradcam against rollout on the same images")
    assert "deletion +0.1000 (± 0.0000)" in said and "ROAD +0.1000 (± 0.0000)" in said
    assert "2 of 3 measures differ" in said


def test_interval():
    low, high = faithfulness.interval(np.array([0.1, 0.2, 0.3, 0.4]))
    assert (low + high) / 2 == pytest.approx(0.25)
    assert high - low == pytest.approx(2 * 3.182446 * 0.1290994 / 2, rel=1e-5)
