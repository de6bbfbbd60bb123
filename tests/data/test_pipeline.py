import gc
import weakref

import numpy as np
import psutil
import pytest
from PIL import Image

from data.imaging.variants import Variant
from data.loading import augment, numpy_decoder
from data.loading.array_loader import ArrayLoader
from data.loading.augmentation_config import Augmentation, Intervention
from data.loading.image_set import Images, View
from data.loading.pipeline import loader
from utils.errors import LeukoBenchError

CLASSES = ("a", "b")


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name in CLASSES:
        place = tmp_path / "train" / name
        place.mkdir(parents=True)
        for number in range(5):
            Image.fromarray(rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)).save(place / f"{number}.png")
    return tmp_path


def epoch(images, augmentation=Augmentation(), seed=1, number=1, size=4):  # noqa: B008
    batches = list(loader().training_batches(images, size, View(augmentation, seed, number)))
    return np.concatenate([x for x, _ in batches]), np.concatenate([y for _, y in batches])


def test_decoding_again_each_epoch_gives_what_the_cache_gives(folder):
    cached = loader().read(folder, "train", CLASSES, 32, budget=10**9)
    streamed = loader().read(folder, "train", CLASSES, 32, budget=10 * 32 * 32 * 3 - 1)
    assert cached.pixels is not None and streamed.pixels is None
    strong = Augmentation(flips=True, rotation=20, colour=0.2)
    for a, b in zip(epoch(cached, strong), epoch(streamed, strong), strict=True):
        np.testing.assert_array_equal(a, b)
    one = loader().decode(cached.paths[3], 32)
    np.testing.assert_array_equal(one, cached.pixels[3])


def test_batches_hold_no_second_copy_of_the_images(tmp_path):
    pixels = np.ones((1500, 224, 224, 3), np.uint8)  # 226 MB
    names, labels = [f"a/{number}.png" for number in range(len(pixels))], np.zeros(len(pixels), int)
    images = Images(names, labels, 2, 224, [], Variant(), pixels)
    few = Images(names[:8], labels[:8], 2, 224, [], Variant(), pixels[:8])
    change = Augmentation(flips=True, zoom=0.1)
    for batches in (
        lambda of: loader().training_batches(of, 4, View(change, 1, 1)),
        lambda of: loader().fixed_batches(of, 4),
    ):
        next(iter(batches(few)))
        before = psutil.Process().memory_info().rss
        held = iter(batches(images))
        next(held)
        assert psutil.Process().memory_info().rss - before < pixels.nbytes / 2


@pytest.mark.parametrize("intervention", [Intervention(), Intervention(grey=1.0)])
def test_images_are_freed_with_their_last_batch(folder, intervention):
    images = loader().read(folder, "train", CLASSES, 32, budget=10**9)
    pixels = weakref.ref(images.pixels)
    batches = loader().training_batches(images, 4, View(Augmentation(flips=True), 1, 1, intervention))
    del images
    assert len(list(batches)) == 3  # which hold what they are made of
    del batches
    gc.collect()
    assert pixels() is None


@pytest.mark.parametrize("size", [32, 33])
def test_flips_and_quarter_turns_by_numpy_are_those_of_keras(folder, size):
    images = loader().read(folder, "train", CLASSES, size, budget=10**9)
    change = Augmentation(flips=True, quarter_turns=True, brightness=0.1)
    order = augment.shuffled(10, 1, 3)
    draws = augment.epoch_draws(10, 1, 3)[order]
    given = images.pixels[order].astype(np.float32)
    expected = augment.change(given, draws, augment.affine(draws, change, size), change)
    np.testing.assert_array_equal(epoch(images, change, number=3)[0], expected)
    light = augment.change(given, draws, augment.affine(draws, change, size), Augmentation(brightness=0.1))
    assert not any(map(np.array_equal, light[2:], expected[2:]))


def test_names_labels_and_pixels_belong_together(folder):
    images = loader().read(folder, "train", CLASSES, 40, budget=10**9)
    assert images.names == [f"{c}/{n}.png" for c in CLASSES for n in range(5)]
    pixels, labels = epoch(images)
    order = augment.shuffled(10, 1, 1)
    np.testing.assert_array_equal(pixels, images.pixels[order])
    np.testing.assert_array_equal(labels.argmax(1), images.labels[order])
    fixed = np.concatenate([x for x, _ in loader().fixed_batches(images, 3)])
    np.testing.assert_array_equal(fixed, images.pixels)


def test_an_epoch_is_a_function_of_seed_and_epoch_alone(folder):
    images = loader().read(folder, "train", CLASSES, 32, budget=10**9)
    strong = Augmentation(flips=True, quarter_turns=True, zoom=0.2, shift=0.1, brightness=0.2, contrast=0.3, colour=0.3)
    first = epoch(images, strong)[0]
    np.testing.assert_array_equal(first, epoch(images, strong)[0])
    # The batch size cuts the same sequence elsewhere.
    np.testing.assert_allclose(first, epoch(images, strong, size=7)[0], atol=1e-3)
    assert not np.array_equal(first, epoch(images, strong, number=2)[0])
    assert not np.array_equal(first, epoch(images, strong, seed=2)[0])


def test_flips_and_quarter_turns_move_whole_pixels(folder):
    images = loader().read(folder, "train", CLASSES, 32, budget=10**9)
    seen = set()
    for number in range(1, 9):
        order = augment.shuffled(10, 1, number)
        turned = epoch(images, Augmentation(flips=True, quarter_turns=True), number=number)[0]
        for pixels, index in zip(turned, order, strict=True):
            original = images.pixels[index].astype(np.float32)
            ways = [np.rot90(side, turn) for side in (original, original[:, ::-1]) for turn in range(4)]
            found = [way for way, candidate in enumerate(ways) if np.array_equal(candidate, pixels)]
            assert len(found) == 1
            seen.add(found[0])
    assert seen == set(range(8))


@pytest.mark.parametrize(
    ("name", "strength"),
    [("rotation", 30), ("zoom", 0.3), ("shift", 0.2), ("brightness", 0.3), ("contrast", 0.5), ("colour", 0.4)],
)
def test_each_augmentation_changes_pixels_and_stays_in_range(folder, name, strength):
    images = loader().read(folder, "train", CLASSES, 32, budget=10**9)
    changed = epoch(images, Augmentation(**{name: strength}))[0]
    plain = epoch(images)[0]
    assert changed.min() >= 0 and changed.max() <= 255
    difference = np.abs(changed - plain).mean(axis=(1, 2, 3))
    assert difference.min() > 0 and difference.mean() > 2


def test_brightness_adds_at_most_its_share_and_the_same_everywhere():
    change = Augmentation(brightness=0.1)
    draws = np.stack([augment.epoch_draws(1, 1, number)[0] for number in range(1, 40)])
    grey = np.full((len(draws), 32, 32, 3), 128, np.float32)
    pixels = np.asarray(augment.change(grey, draws, augment.affine(draws, change, 32), change))
    assert np.ptp(pixels, axis=(1, 2, 3)).max() < 1e-3
    added = pixels.mean(axis=(1, 2, 3)) - 128
    assert -25.6 <= added.min() < -15 and 15 < added.max() <= 25.6


def test_a_subset_without_images_is_one_line(tmp_path):
    with pytest.raises(LeukoBenchError, match=r"cannot be read .* Remove .* and run it again\.$"):
        loader().read(tmp_path, "val", CLASSES, 32, budget=10**9)


@pytest.fixture
def mixed(tmp_path):
    """A training folder with JPEGs and PNGs of several sizes, qualities and colour modes."""
    rng = np.random.default_rng(2)
    place = tmp_path / "train" / "a"
    place.mkdir(parents=True)
    (tmp_path / "train" / "b").mkdir()
    smooth = np.kron(rng.integers(0, 256, (5, 5, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    picture = Image.fromarray(smooth)
    picture.save(place / "fitting.jpg", quality=80)
    picture.save(place / "other.png")
    picture.convert("L").save(place / "pale.jpg")
    picture.resize((48, 40)).save(place / "wide.jpg", quality=80)
    for subsampling in (0, 1, 2):
        for quality in (40, 95):
            picture.resize((113, 91)).save(
                place / f"{subsampling}-{quality}.jpg", quality=quality, subsampling=subsampling
            )
    return tmp_path


@pytest.mark.parametrize("size", [40, 28, 97])
def test_keras_tensorflow_and_numpy_decode_to_the_same_bytes(mixed, size):
    import tensorflow as tf

    read = loader().read(mixed, "train", CLASSES, size, budget=10**9)
    assert len(read) == 10
    streamed = loader().read(mixed, "train", CLASSES, size, budget=0)
    again = np.concatenate([pixels for pixels, _ in loader().fixed_batches(streamed, 2)])
    arrays = ArrayLoader()
    assert arrays._listed([mixed / "train"], CLASSES, size)[0] == read.paths
    for path, pixels, decoded in zip(read.paths, read.pixels, again, strict=True):
        image = tf.io.decode_image(tf.io.read_file(path), channels=3)
        np.testing.assert_array_equal(pixels, tf.round(tf.image.resize(image, (size, size))).numpy(), path)
        np.testing.assert_array_equal(decoded, pixels, path)
        np.testing.assert_array_equal(loader().decode(path, size), pixels, path)
        np.testing.assert_array_equal(arrays.open(path), image, path)
        np.testing.assert_array_equal(arrays.decode(path, size), pixels, path)


@pytest.mark.parametrize("shape", [(224, 224, 112), (48, 48, 32), (40, 53, 97), (301, 200, 64), (30, 31, 31)])
def test_numpy_resizes_to_the_values_of_tensorflow(shape):
    import tensorflow as tf

    height, width, size = shape
    image = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    np.testing.assert_array_equal(numpy_decoder.resize(image, size), tf.image.resize(image, (size, size)))


def test_a_cut_image_is_an_error_of_the_decoder(mixed):
    place = mixed / "train" / "a"
    (place / "cut.jpg").write_bytes((place / "fitting.jpg").read_bytes()[:300])
    with pytest.raises(loader().decoding_errors):
        loader().read(mixed, "train", CLASSES, 28, budget=10**9)
    with pytest.raises(ArrayLoader.decoding_errors):
        ArrayLoader().open(place / "cut.jpg")
