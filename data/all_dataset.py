"""Facts of the ALL dataset: class names, folder names of both public releases, published counts, citation.

The only place that names classes; everything else reads them from the manifest.
"""

import re

HANDLE = "mehradaria/leukemia"  # on Kaggle
NAME = "ALL_dataset"
PUBLISHED = {"Benign": 504, "Early": 985, "Pre": 963, "Pro": 804}
PATIENTS = 89  # as published, without the patient of each image
CITATION = (
    "Aria, Ghaderzadeh, Bashash, Abolghasemi, Asadi, Hosseini: Acute Lymphoblastic Leukemia (ALL) image dataset. "
    "Kaggle 2021, doi 10.34740/KAGGLE/DSV/2175623. "
    "Ghaderzadeh et al.: A fast and efficient CNN model for B-ALL diagnosis and its subtypes classification using "
    "peripheral blood smear images. Int. J. Intelligent Systems 2022, doi 10.1002/int.22753."
)

# Class by folder name in lower case, without "malignant" and without anything but letters and digits.
_ALIASES = {
    "benign": "Benign",
    "hematogones": "Benign",
    "early": "Early",
    "earlypreb": "Early",
    "pre": "Pre",
    "preb": "Pre",
    "pro": "Pro",
    "prob": "Pro",
}


def canonical(folder: str) -> str | None:
    """Return the class that a folder name of either release stands for, or None.

    "[Malignant] early Pre-B", "EARLY" and "Early" are all "Early".
    """
    return _ALIASES.get(re.sub(r"malignant|[^a-z0-9]", "", folder.lower()))


def published_difference(counts: dict[str, int]) -> str | None:
    """Describe how counts by class differ from the published ones; None where they agree or the classes differ."""
    if set(counts) != set(PUBLISHED) or counts == PUBLISHED:
        return None
    parts = [f"{name} {counts[name]} of {PUBLISHED[name]}" for name in PUBLISHED if counts[name] != PUBLISHED[name]]
    return f"The published dataset has other counts: {', '.join(parts)}."
