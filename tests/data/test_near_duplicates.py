"""Near duplicates: a changed copy is found, another field of the same patient is not."""

import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter
from planted_signal import plant

from data.grouping import near_duplicates, related_images, stain_groups
from data.synthetic import generator as synthetic
from data.synthetic.staining import patient_of


@pytest.fixture(scope="module")
def smears():
    patient = patient_of(3, synthetic.CLASSES, "Pre", 0, 1, "independent")
    rng = np.random.default_rng(3)
    return [Image.fromarray(synthetic.draw(rng, "Pre", 96, patient)[0]) for _ in range(24)]


def stored(picture, quality):
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


CHANGES = {
    "quality 90": lambda picture: stored(picture, 90),
    "quality 30": lambda picture: stored(picture, 30),
    "smaller": lambda picture: picture.resize((61, 61), Image.Resampling.BICUBIC),
    "larger": lambda picture: picture.resize((224, 224), Image.Resampling.BILINEAR),
    "brighter": lambda picture: ImageEnhance.Brightness(picture).enhance(1.05),
    "darker": lambda picture: ImageEnhance.Brightness(picture).enhance(0.9),
    "blurred": lambda picture: picture.filter(ImageFilter.GaussianBlur(0.7)),
    "all": lambda picture: stored(ImageEnhance.Brightness(picture.resize((80, 80))).enhance(0.95), 50),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_copies_are_found_and_nothing_else(smears, change):
    pictures = [*smears, *(CHANGES[change](picture) for picture in smears)]
    marks = np.stack([near_duplicates.fingerprint(np.asarray(picture)) for picture in pictures])
    found = {(first, second) for first, second, _ in near_duplicates.find(marks)}
    assert found == {(number, number + len(smears)) for number in range(len(smears))}


def test_differing_bits_are_counted():
    marks = np.zeros((4, 256), bool)
    marks[1, :20] = True
    marks[2, :21] = True
    marks[3] = True
    assert near_duplicates.find(marks) == [(0, 1, 20), (1, 2, 1)]
    assert near_duplicates.find(marks[:1]) == []


def test_planted_duplicates_of_a_dataset(data_folder):
    made = plant(data_folder / "raw" / "planted", scenes=6, alone=12, seed=9)
    found = stain_groups.find("planted")
    kinds = {kind: {(p.first, p.second) for p in found.pairs if p.kind == kind} for kind in related_images.KINDS}
    assert kinds == {"exact": made.exact, "near": made.near, "overlap": set(made.overlaps)}
    assert (len(made.exact), len(made.near)) == (2, 6)
    assert stain_groups.find("planted") == found  # as stored
