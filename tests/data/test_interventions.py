"""Interventions: what is changed is drawn anew from (seed, epoch, image), and nothing but what they name changes."""

import numpy as np
import pytest

from data.imaging import nucleus_masks, stain_normalization
from data.loading import augment as augmentation
from data.loading import domain_randomization
from data.loading.augmentation_config import Augmentation, Intervention
from data.loading.image_set import View
from data.loading.pipeline import loader
from data.splitting import splits

CLASSES = ("Benign", "Early", "Pre", "Pro")


@pytest.fixture(scope="module")
def training(home):
    split = splits.prepare_split("tiny")
    return loader().read(split.path, "train", CLASSES, 48, 10**8)


def one_epoch(training, intervention, epoch=1, seed=3):
    """Return images in 0-255 and labels, in the order of `training`."""
    material = loader().material(training, intervention)
    batches = loader().training_batches(training, 16, View(Augmentation(), seed, epoch, intervention, material))
    order = augmentation.shuffled(len(training), seed, epoch).argsort()
    return tuple(np.concatenate([part.numpy() for part in parts])[order] for parts in zip(*batches, strict=True))


@pytest.mark.parametrize("field", list(Intervention.model_fields))
def test_an_epoch_is_drawn_from_seed_and_number_and_keeps_the_labels(training, field):
    intervention = Intervention(**{field: 0.9 if field == "exposure" else 1.0})
    plain, labels = one_epoch(training, Intervention())
    first, kept = one_epoch(training, intervention)
    again, _ = one_epoch(training, intervention)
    later, _ = one_epoch(training, intervention, epoch=2)
    other, _ = one_epoch(training, intervention, seed=4)
    assert np.array_equal(plain, training.pixels) and np.array_equal(kept, labels)
    assert np.array_equal(first, again)
    changed = (first != plain).any(axis=(1, 2, 3)).mean()
    assert changed > 0.9, "hardly an image stays as it is"
    assert (first != later).any() and (first != other).any()


def test_a_probability_leaves_its_share_of_the_images_alone(training):
    plain, _ = one_epoch(training, Intervention())
    half, _ = one_epoch(training, Intervention(grey=0.5))
    share = (half != plain).any(axis=(1, 2, 3)).mean()
    assert 0.25 < share < 0.75


def test_a_stain_swap_gives_an_image_the_colours_of_another_training_image(training):
    swapped, _ = one_epoch(training, Intervention(stain_swap=1))
    colours = np.array([stain_normalization.reinhard_statistics(image) for image in loader().each(training)])
    reached = np.array([stain_normalization.reinhard_statistics(image.astype(np.uint8)) for image in swapped])
    distances = np.abs(reached[:, None, :3] - colours[None, :, :3]).max(axis=2)
    assert np.median(distances.min(axis=1)) < 1, "in LAB; clipping at white may move a mean"
    donors = distances.argmin(axis=1)
    assert (donors != np.arange(len(donors))).mean() > 0.8 and len(set(donors)) > len(donors) / 3
    moved = {(training.labels[i], training.labels[k]) for i, k in enumerate(donors)}
    assert len(moved) > 8, "donors are of any class"


def test_grey_is_one_channel_thrice_and_a_different_mixture_each_time(training):
    grey, _ = one_epoch(training, Intervention(grey=1))
    assert np.array_equal(grey[..., 0], grey[..., 1]) and np.array_equal(grey[..., 0], grey[..., 2])
    later, _ = one_epoch(training, Intervention(grey=1), epoch=2)
    assert np.abs(grey - later).mean() > 2


def test_hue_and_jitter_leave_every_pixel_in_its_place(training):
    from scipy.stats import spearmanr

    plain, _ = one_epoch(training, Intervention())
    for intervention in (Intervention(hue=1), Intervention(stain_jitter=0.2)):
        changed, _ = one_epoch(training, intervention)
        pairs = zip(plain.mean(axis=3), changed.mean(axis=3), strict=True)
        assert np.median([spearmanr(before.ravel(), after.ravel())[0] for before, after in pairs]) > 0.85


def test_a_background_swap_keeps_the_cells_and_nothing_else(home):
    from data.synthetic import generator as synthetic

    synthetic.make("scenes", images_per_class=8, size=96, patients=2, seed=11)
    split = splits.prepare_split("scenes")
    training = loader().read(split.path, "train", CLASSES, 96, 10**8)
    plain, _ = one_epoch(training, Intervention())
    swapped, _ = one_epoch(training, Intervention(background_swap=1))
    inside, outside = [], []
    masks = nucleus_masks.nucleus_masks("scenes", training.names, 96)
    for nuclei, before, after in zip(masks, plain, swapped, strict=True):
        difference = np.abs(before - after).mean(axis=2)
        inside.append(np.median(difference[nuclei]))
        outside.append(np.mean(difference[~nuclei] > 3))
    assert np.median(inside) <= 1 and np.median(outside) > 0.5


def test_no_intervention_needs_no_material_and_changes_nothing(training):
    assert not Intervention().active
    empty = loader().material(training, Intervention(grey=1))
    assert empty.colours.size == empty.cells.size == empty.scenes.size == 0
    image = next(loader().each(training))
    assert np.array_equal(domain_randomization.intervene(image, 0, empty, Intervention(), seed=1, epoch=1), image)


def test_an_exposure_and_lost_patches_change_light_and_places(training):
    plain, _ = one_epoch(training, Intervention())
    lit, _ = one_epoch(training, Intervention(exposure=0.5))
    factors = lit.mean(axis=(1, 2, 3)) / plain.mean(axis=(1, 2, 3))
    assert 0.49 < factors.min() < 0.75 and 1.05 < factors.max() < 1.26
    erased, _ = one_epoch(training, Intervention(erasing=1))
    share = (erased != plain).any(axis=3).mean(axis=(1, 2))
    assert share.max() < 5 * 0.13**2 and share.mean() > 0.002
