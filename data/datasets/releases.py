"""Known public releases of blood-cell images: how their names tell class, subset and patient of each image.

The table is data. A release is recognised from the names of its files, no image is opened. All readers but those with
`tried` were written from public loaders and documentation, and not tried on a copy.
"""

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from data.datasets.folder_roles import subset_of
from data.datasets.image_decoder import BadImage
from utils.errors import LeukoBenchError

Parts = tuple[str, ...]
_MATCHING = 0.9  # share of the images whose names must follow a release's grammar


@dataclass(frozen=True)
class Place:
    """Where an image belongs: its class, and its subset and group (patient, subject), "" for none."""

    label: str
    subset: str = ""
    group: str = ""


@dataclass(frozen=True)
class Rule:
    """One form of names of a release.

    Attributes:
        pattern: regular expression of the whole path, with forward slashes and in any case. Named groups: label,
            subset, group. An image that matches without a label has no class in the release.
        subset: of all images of this form.
    """

    pattern: str
    subset: str = ""

    @cached_property
    def expression(self) -> re.Pattern[str]:
        """Compile the pattern, once."""
        return re.compile(self.pattern, re.IGNORECASE)


@dataclass(frozen=True)
class Table:
    """A CSV of a release with the class of each image in or below its folder.

    Attributes:
        name: file name.
        images: pattern of the names of its images.
        file, label, group: its columns: file name of an image, class, and an original name.
        original: pattern of the original name, with the named group `group`.
        subset: of its images.
    """

    name: str
    images: str
    file: str
    label: str
    group: str
    original: str
    subset: str = ""


@dataclass(frozen=True)
class Release:
    """A public release.

    Attributes:
        name: as it is cited.
        rules: forms of its names; the first that matches counts.
        labels: class by the text that stands for it in names and tables, in lower case.
        licence: of the images.
        url: page of the owner.
        traps: what to know before training, in short sentences.
        subsets: subset by the text that stands for it, in lower case.
        group: what a group is ("subject", "patient"); "" where names do not tell.
        table: CSV with classes.
        signature: pattern that at least one path must match; "" for none.
        tried: whether the reader was tried on a copy of the release.
    """

    name: str
    rules: tuple[Rule, ...]
    labels: Mapping[str, str]
    licence: str
    url: str
    traps: str
    subsets: Mapping[str, str] = field(default_factory=dict)
    group: str = ""
    table: Table | None = None
    signature: str = ""
    tried: bool = False

    def place(self, parts: Parts) -> Place | None:
        """Return the place of an image by its path, with label "" where the release gives no class; None: no match."""
        path = "/".join(parts)
        for rule in self.rules:
            match = rule.expression.fullmatch(path)
            if match:
                told = {key: value or "" for key, value in match.groupdict().items()}
                label = self.labels.get(told.get("label", "").lower(), "")
                subset = self.subsets.get(told.get("subset", "").lower(), rule.subset)
                return Place(label, subset, told.get("group", ""))
        return None

    def signed(self, names: Iterable[Parts]) -> bool:
        """Return whether one of the paths matches the signature."""
        return not self.signature or any(re.fullmatch(self.signature, "/".join(each), re.IGNORECASE) for each in names)


@dataclass(frozen=True)
class Recognised:
    """A release that was found in a source.

    Attributes:
        release: the release.
        places: place of each image whose class is known, by path.
    """

    release: Release
    places: Mapping[Parts, Place]


def _same(*names: str) -> dict[str, str]:
    """Map names in lower case to themselves."""
    return {name.lower(): name for name in names}


def _any(names: Mapping[str, str] | Sequence[str]) -> str:
    return "|".join(re.escape(name) for name in names)


_CNMC = {**_same("all", "hem"), "1": "all", "0": "hem"}
_IDB = {"1": "blast", "0": "healthy"}
_IDB_FOLDER = r"(?:(?:.*/)?(?:im|img|images?|all[-_ ]?idb[-_ ]?\d?)/)?"
_BLOOD = ("basophil", "eosinophil", "erythroblast", "ig", "lymphocyte", "monocyte", "neutrophil", "platelet")
_PBC_PREFIXES = ("BA", "EO", "ERB", "IG", "PMY", "MY", "MMY", "LY", "MO", "NEUTROPHIL", "BNE", "SNE", "PLATELET")
_AML_CODES = ("BAS", "EBO", "EOS", "KSC", "LYA", "LYT", "MMZ", "MOB", "MON", "MYB", "MYO", "NGB", "NGS", "PMB", "PMO")
_AML = _same(*_AML_CODES)
_MLL = _same("CBFB_MYH11", "NPM1", "PML_RARA", "RUNX1_RUNX1T1", "control")
_RAABIN = _same("Basophil", "Eosinophil", "Lymphocyte", "Monocyte", "Neutrophil")
_ATTRI = _same("ALL", "AML", "APML", "CLL", "CML")

BLOODMNIST = Release(
    name="BloodMNIST",
    rules=(Rule(rf"(?P<subset>train|val|test)/(?P<label>{_any(_BLOOD)})/bloodmnist_\w+_\d+\.png"),),
    labels=_same(*_BLOOD),  # in the order of its label numbers
    subsets=_same("train", "val", "test"),
    licence="CC BY 4.0",
    url="https://medmnist.com",
    traps="No patient ids. Made from the PBC images: neither is a test set for the other.",
)

RELEASES = (
    Release(
        name="C-NMC 2019",
        rules=(
            Rule(r"(?:.*/)?fold_\d+/(?:all|hem)/UID_(?P<group>H?\d+)_\d+_\d+_(?P<label>all|hem)\.\w+", subset="train"),
            Rule(r"(?:.*/)?UID_(?P<group>H?\d+)_\d+_\d+_(?P<label>all|hem)\.\w+"),
            Rule(r".*test_final_phase.*/\d+\.bmp"),
        ),
        labels=_CNMC,
        table=Table(
            name="C-NMC_test_prelim_phase_data_labels.csv",
            images=r"\d+\.bmp",
            file="new_names",
            label="labels",
            group="Patient_ID",
            original=r"UID_(?P<group>H?\d+)_.*",
            subset="test",
        ),
        group="subject",
        licence="CC BY 3.0",
        url="https://www.cancerimagingarchive.net/collection/c-nmc-2019/",
        traps="Subjects 57 and H57 are two people. The cells are cut out on black: their outline is part of the image.",
    ),
    Release(
        name="ALL-IDB1",
        rules=(Rule(_IDB_FOLDER + r"Im\d{3}_(?P<label>[01])\.jpe?g"),),
        labels=_IDB,
        licence="by agreement",
        url="https://scotti.di.unimi.it/all/",
        traps="No patient ids; some fields overlap, and the size of an image partly tells its class.",
    ),
    Release(
        name="ALL-IDB2",
        rules=(Rule(_IDB_FOLDER + r"Im\d{3}_(?P<label>[01])\.tiff?"),),
        labels=_IDB,
        licence="by agreement",
        url="https://scotti.di.unimi.it/all/",
        traps="The crops are cut from ALL-IDB1: neither is a test set for the other. Their names do not say from which "
        "field: give it with --groups if you know it; otherwise --split grouped estimates groups.",
    ),
    Release(
        name="PBC, Acevedo 2020",
        rules=(Rule(rf"(?:.*/)?(?P<label>{_any(_BLOOD)})/(?:{_any(_PBC_PREFIXES)})_\d+\.jpe?g"),),
        labels=_same(*_BLOOD),
        licence="CC BY 4.0",
        url="https://data.mendeley.com/datasets/snkd93bnjr/1",
        traps="No patient ids. Some files are there twice, under two classes: import with --conflicts quarantine.",
    ),
    BLOODMNIST,
    Release(
        name="AML-Cytomorphology_LMU, Munich AML",
        rules=(Rule(rf"(?:.*/)?(?P<label>{_any(_AML)})/(?P=label)_\d+\.tiff?"),),
        labels=_AML,
        licence="CC BY 3.0",
        url="https://www.cancerimagingarchive.net/collection/aml-cytomorphology_lmu/",
        traps="No patient ids in the names: a split by image puts one patient's cells on both sides.",
    ),
    Release(
        name="AML-Cytomorphology_MLL_Helmholtz, Munich MLL",
        rules=(Rule(rf"(?:.*/)?(?P<label>{_any(_MLL)})/(?P<group>[^/]+)/image_\d+\.tiff?"),),
        labels=_MLL,
        group="patient",
        licence="see its page",
        url="https://www.cancerimagingarchive.net/collection/aml-cytomorphology_mll_helmholtz/",
        traps="A class is the diagnosis of the patient, not of the cell: many cells of a patient look normal.",
    ),
    Release(
        name="Raabin-WBC, double-labelled cells",
        rules=(Rule(rf"(?:.*/)?(?P<subset>train|test[-_ ]?a|test[-_ ]?b)/(?P<label>{_any(_RAABIN)})/[^/]+"),),
        labels=_RAABIN,
        signature=r"(?:.*/)?test[-_ ]?[ab]/.*",
        subsets={
            "train": "train",
            **{f"test{mark}{letter}": f"test_{letter}" for mark in ("", "-", "_", " ") for letter in "ab"},
        },
        licence="free with citation",
        url="https://raabindata.com/free-data/",
        traps="TestB was taken with another microscope and camera. No patient ids.",
    ),
    Release(
        name="LeukemiaAttri",
        rules=(
            Rule(
                r"(?:(?:.*/)?images/(?:(?P<subset>train|val|test)/)?)?"
                rf"(?P<group>\d+)_\d+(?:_\d+)?_(?:100|400|1000)_(?P<label>{_any(_ATTRI)})\.\w+"
            ),
        ),
        labels=_ATTRI,
        subsets=_same("train", "val", "test"),
        group="patient",
        licence="see its page",
        url="https://github.com/intelligentMachines-ITU/Blood-Cancer-Dataset-Lukemia-Attri-MICCAI-2024",
        traps="A class is the diagnosis of the patient; an image is a field of many cells. H_100X_C2, L_40X_C1 and "
        "the other folders show the same patients through different cameras.",
    ),
)


def recognised(names: Sequence[Parts], tables: Mapping[Parts, Callable[[], bytes]] | None = None) -> Recognised | None:
    """Recognise a known release by the names of its images; None for any other dataset.

    Nine of ten names must follow the grammar and tell at least two classes.

    Args:
        names: paths of the images below the source.
        tables: reads a CSV file of the source, by its path.

    Raises:
        LeukoBenchError: the images are of several releases, or the table of a release is damaged.
    """
    counts = {}
    for release in RELEASES:
        found = {parts: place for parts in names if (place := release.place(parts))}
        if release.table:
            rest = [parts for parts in names if parts not in found]
            found |= _by_table(release.table, release.labels, rest, tables or {})
        places = {parts: place for parts, place in found.items() if place.label}
        if len({place.label for place in places.values()}) < 2 or not release.signed(found):
            continue
        if len(found) >= _MATCHING * len(names):
            return Recognised(release, _with_subsets(places))
        counts[release.name] = len(found)
    if len(counts) > 1 and sum(counts.values()) >= _MATCHING * len(names):
        shown = " and ".join(f"{name} ({count} images)" for name, count in counts.items())
        raise LeukoBenchError(f"There are several releases: {shown}. Import the folder of each by itself.")
    return None


def _with_subsets(places: dict[Parts, Place]) -> dict[Parts, Place]:
    """Return places with the subsets of the release, else with those that folders name (a user's own split of it).

    One subset alone is no split: the folds of C-NMC, the training set of Raabin.
    """
    named = {parts: next(filter(None, map(subset_of, reversed(parts[:-1]))), "") for parts in places}
    for subsets in ({parts: place.subset for parts, place in places.items()}, named):
        if len(set(subsets.values()) - {""}) > 1:
            return {parts: replace(place, subset=subsets[parts]) for parts, place in places.items()}
    return {parts: replace(place, subset="") for parts, place in places.items()}


def _by_table(
    table: Table, labels: Mapping[str, str], names: Sequence[Parts], tables: Mapping[Parts, Callable[[], bytes]]
) -> dict[Parts, Place]:
    """Return the places of the images that lie in or below the folder of a release's table."""
    places = {}
    for path, read in tables.items():
        if path[-1].lower() != table.name.lower():
            continue
        try:
            text = read().decode("utf-8-sig")
        except (BadImage, UnicodeDecodeError) as error:
            raise LeukoBenchError(f"{'/'.join(path)} cannot be read: {error}. Get it anew.") from None
        known = _rows(table, labels, text, "/".join(path))
        for parts in names:
            if parts[: len(path) - 1] == path[:-1] and re.fullmatch(table.images, parts[-1], re.IGNORECASE):
                places[parts] = known.get(parts[-1], Place(""))
    return places


def _rows(table: Table, labels: Mapping[str, str], text: str, name: str) -> dict[str, Place]:
    """Read the rows of a release's table: the place of an image by its file name.

    Raises:
        LeukoBenchError: a column is missing, or a class is unknown.
    """
    places = {}
    try:
        rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        columns = (table.file, table.label, table.group)
        if not set(columns) <= set(rows.fieldnames or ()):
            received = ", ".join(rows.fieldnames or ())[:80] or "nothing"
            raise LeukoBenchError(f"{name} needs the columns {', '.join(columns)}; received {received}. Get it anew.")
        for row in rows:
            file, label, original = ((row[column] or "").strip() for column in columns)
            if label not in labels:
                raise LeukoBenchError(
                    f"{name} gives {file[:40]} the class '{label[:40]}'; valid are {', '.join(labels)}. Get it anew."
                )
            match = re.fullmatch(table.original, original, re.IGNORECASE)
            places[file] = Place(labels[label], table.subset, match["group"] if match else "")
    except csv.Error as error:
        raise LeukoBenchError(f"{name} is damaged: {error}. Get it anew.") from None
    return places
