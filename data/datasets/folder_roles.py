"""What the name of a folder says: that it is a subset, a part such as a fold or a patient, or a class."""

import re
import unicodedata
from collections.abc import Collection

from data import all_dataset


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_OF_DATA = "(?:set|sets|data|images?|imgs?)?"
# Each is one word of a name. "trainval" is for training: whoever made it has no use for the distinction.
_KINDS = {
    "train": re.compile(rf"train(?:ing)?(?:val)?{_OF_DATA}|trn|训练集?|訓練"),
    "val": re.compile(rf"val(?:id|idation|idating|idate)?{_OF_DATA}|dev(?:el|elopment)?(?:set)?|验证集?|検証"),
    "test": re.compile(rf"test(?:ing|s)?{_OF_DATA}|tst|(?:hold|held)out|测试集?|テスト"),
}
_LETTERED = re.compile(r"(train|val|test)([a-h])")  # "testa", which no capital divides
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\dA-Za-z_]+")

_NOISE = _set(
    """
    set sets data dataset images image imgs img split subset folder samples
    """
)
_PATIENTS = _set(
    """
    patient patients pat pt pid subject subj sub case person individual donor slide slides wsi specimen smear 患者 病人
    """
)
_PARTS = _set(
    """
    fold folds kfold cv split part partition chunk batch set dataset subset site center centre hospital clinic lab
    cohort camera scanner microscope run scan roi fov field region session image img photo tile tiles patch visit
    crop crops acquisition mag zoom series study
    """
)
_DETAILS = _set(
    """
    raw cropped original originals segmented left right front back tiles patches
    """
)
_WRAPPERS = _set(
    """
    images image img imgs pictures photos data dataset datasets input archive raw original originals files jpg jpeg
    png tiff bmp
    """
)
_STRAYS = _set(
    """
    assets asset docs doc documentation figures figure figs fig screenshots media static logo logos icons icon
    notebooks paper src scripts readme website banner banners resources res public examples masks mask annotations
    annotation labels gt groundtruth ground_truth thumbnails
    """
)
_CLASSES = _set(
    """
    benign malignant normal abnormal healthy sick diseased positive negative pos neg infected uninfected parasitized
    cancer tumor tumour unknown other others control leukemia leukaemia leukemic lymphoma myeloma anemia blast
    blasts hem aml cml cll apl apml neutrophil eosinophil basophil lymphocyte monocyte erythroblast platelet
    platelets ig myelocyte promyelocyte metamyelocyte erythrocyte rbc wbc class grade type stage label category
    score level yes no
    """
)
_MOSTLY = 0.8  # share of a level's names that makes it a level of parts


def key(name: str) -> str:
    """Return what two spellings of one name have in common: without case, blanks and the form of accents."""
    text = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
    return "".join(char for char in text if not char.isspace() and unicodedata.category(char) != "Cf")


def subset_of(name: str) -> str:
    """Return the subset that a folder's name stands for: "train", "val", "test", "test_<name>", or "".

    "Training-data" is "train", "valid" and "dev" are "val", "TEST_SIMPLE" is "test_simple" and "TestA" "test_a".
    """
    kinds, rest = set(), []
    for word in _words(name):
        lettered = _LETTERED.fullmatch(word)
        kind = next((kind for kind, pattern in _KINDS.items() if pattern.fullmatch(word)), "")
        if kind or lettered:
            kinds.add(kind or lettered[1])
            rest += [lettered[2]] if lettered and not kind else []
        elif word not in _NOISE:
            rest.append(word)
    if kinds == {"test"}:
        ascii_only = unicodedata.normalize("NFKD", "_".join(rest)).encode("ascii", "ignore").decode()
        return "_".join(["test", *re.findall(r"[a-z0-9]+", ascii_only.lower())])[:48]
    return "train" if kinds == {"train", "val"} else kinds.pop() if len(kinds) == 1 else ""


def is_fold(name: str) -> bool:
    """Say whether a folder's name is that of a fold of cross-validation."""
    return bool({"fold", "folds", "kfold", "cv"} & set(_words(name))) and bool(re.search(r"\d", name))


def is_patient(name: str) -> bool:
    """Say whether a folder's name is that of a patient or a slide: "Patient_12", "Slide_001_40x", "p3"."""
    lower = name.lower()
    return bool(re.fullmatch(r"p[-_ ]?\d+", lower)) or (bool(_PATIENTS & set(_words(name))) and _numbered(name))


def is_part(name: str) -> bool:
    """Say whether a folder's name is no class but a part of one or of a dataset: a patient, a fold, "40x", a date."""
    lower = name.lower()
    if is_patient(name) or lower in _DETAILS or (_PARTS & set(_words(name)) and _numbered(name)):
        return True
    return bool(re.fullmatch(r"\d{1,4}\s?x|x\s?\d{1,4}|\d{3,}|\d{2,4}[-_.]\d{1,2}[-_.]\d{1,4}", lower))


def is_class(name: str) -> bool:
    """Say whether a folder's name is one that classes often have."""
    words = {word.removesuffix("s") for word in _words(name)} | set(_words(name))
    return all_dataset.canonical(name) is not None or name.lower() == "all" or bool(words & _CLASSES)


def is_wrapper(name: str) -> bool:
    """Say whether a folder's name only says that images are in it."""
    return name.lower() in _WRAPPERS


def is_stray(name: str) -> bool:
    """Say whether a folder's name is one of those beside the data of a repository or web page."""
    return name.lower() in _STRAYS


def kind_of(names: Collection[str]) -> str:
    """Return what the names of one level of folders are: "subset", "part", "class", or "" where they do not say."""
    if all(map(subset_of, names)):
        return "subset"
    if sum(map(is_class, names)) * 2 >= len(names):
        return "class"
    if sum(map(is_part, names)) >= _MOSTLY * len(names) or _are_serial(names):
        return "part"
    return ""


def _are_serial(names: Collection[str]) -> bool:
    """Say whether names differ in a number or letter at their end alone: "batchA", "batchB"."""
    found = [re.fullmatch(r"(.*?[^\W\d_]{2,}.*?)[-_. ]*(\d+|(?<=[-_. a-z])[A-Za-z])", name) for name in names]
    return len(found) > 1 and all(found) and len({key(match[1]) for match in found if match}) == 1


def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(unicodedata.normalize("NFC", name))]


def _numbered(name: str) -> bool:
    """Say whether a name has a number, or a single letter as its last word."""
    return bool(re.search(r"\d", name)) or len(_words(name)[-1]) == 1
