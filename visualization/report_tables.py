"""The tables of the report, with the words that say how to read each."""

from data import manifest as manifests
from utils import comparison_tables
from utils.compare_models import Comparison
from utils.tables import Table
from visualization import style
from visualization import subjects as members
from visualization.dataset import DistributionDisplay

WORDS = {
    "quality": "Best accuracy first. Initial weights: where training started; a model that starts from ImageNet has "
    "seen over a million photographs before. Models that start differently are not compared on equal "
    "terms. Variant: what is done to every image before a model sees it; the test images are the same for"
    " all.",
    "averages": "Macro: every class counts alike. Weighted: every image counts alike. Log loss: how far the "
    "probabilities are from the truth, 0 is perfect; confident mistakes cost most.",
    "per_class": "Images: how many test images the class has. A dash: not defined, as the class has no test image.",
    "baseline": "Right alone: test images that only this one of the two names rightly. p: how often two equally good "
    "models would differ by as many images or more (McNemar's exact test). The best was chosen by these "
    "same images, which flatters it.",
    "training": "To best epoch: until the epoch whose weights were kept. Peak: the most memory that training took, of"
    " which importing TensorFlow alone takes the last column. Saved by reuse: seconds not spent, because "
    "the images went through the frozen base only once.",
    "complexity": "FLOPs are the multiplications and additions for one image of so many pixels a side; trainable: "
    "parameters that may change in the last phase of training. Peak: the most memory of the process that "
    "predicted.",
    "speed": "Load: building the model and reading its weights. Median and 95th percentile of the time for a "
    "single image, then images a second in batches of 1, 8 and 32.",
    "machines": "",
    "seeds": "Training again with another seed gives another result; differences below the spread mean nothing.",
    "extractors": "Features: numbers that the frozen base gives for an image. Pass: seconds in which it gives them for "
    "all training and validation images, once. Head: seconds in which the head learned from them. Frozen:"
    " accuracy with the base as it came; whole: of the same model with all weights trained. Points: what "
    "that adds on the test images.",
    "runs": "Seed: the number that all chance of a training was drawn from.",
}


def shown(comparison: Comparison, against: str) -> list[tuple[str, Table]]:
    """Return the tables of measured values, each with its words; hyper-parameters stand with the settings."""
    found = comparison_tables.views(comparison, against)
    return [(WORDS[name], table) for name, tables in found.items() if name in WORDS for table in tables]


def images(comparison: Comparison) -> list[tuple[str, Table]]:
    """Return images by class and subset from the manifest; nothing where it is not at hand."""
    path = members.manifest_of(comparison)
    if path is None:
        return []
    display = DistributionDisplay.from_manifest(manifests.read(path), comparison.dataset)
    names = [style.SUBSET_NAMES.get(subset, subset) for subset in display.counts]
    total = sum(display.totals.values())
    rows = [
        [label, *(f"{counts[label]:,}" for counts in display.counts.values()), f"{n:,}", f"{100 * n / total:.1f}"]
        for label, n in display.totals.items()
    ]
    shares = list(display.shares.values())
    rows.append(["All", *(f"{n:,}" for n in shares), f"{total:,}", "100.0"])
    rows.append(["% of all", *(f"{100 * n / total:.1f}" for n in shares), "100.0", ""])
    return [("", Table("Images by class and subset, counted", ("Class", *names, "All", "% of all"), rows))]
