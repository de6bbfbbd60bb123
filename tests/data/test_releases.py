"""Known public releases, drawn small: recognised by their names, with classes, subsets and groups."""

import io
import zipfile

import numpy as np
import pytest
from checks import assert_facts, one_line_error
from command_line import run_guide
from PIL import Image

from data.datasets import importer, npz_source, releases
from data.datasets.placement import Options
from data.splitting import splits
from utils.io.files import read_csv, read_json
from utils.paths import PROJECT

BLOOD = ("basophil", "eosinophil", "erythroblast", "ig", "lymphocyte", "monocyte", "neutrophil", "platelet")
PRELIM = "C-NMC_test_prelim_phase_data"
PRELIM_CSV = f"{PRELIM}_labels.csv"


def cnmc_folds():
    """Three folds, in each two subjects with ALL and two without: subject 5 and H5 are two people."""
    for fold in range(3):
        for subject in (fold, fold + 5):
            for cell in range(3):
                yield f"fold_{fold}/all/UID_{subject}_{cell}_1_all.bmp"
                yield f"fold_{fold}/hem/UID_H{subject}_{cell}_2_hem.bmp"


def cnmc_prelim():
    """File names and the rows of the table: subjects 57, H49 and H50."""
    rows = [
        ("UID_57_29_1_all.bmp", "1.bmp", 1),
        ("UID_57_22_2_all.bmp", "2.bmp", 1),
        ("UID_H49_35_1_hem.bmp", "3.bmp", 0),
    ]
    rows += [("UID_H50_4_1_hem.bmp", "4.bmp", 0), ("UID_58_4_1_all.bmp", "10.bmp", 1)]
    return [row[1] for row in rows], "Patient_ID,new_names,labels\n" + "".join(f"{a},{b},{c}\n" for a, b, c in rows)


def cnmc(training="PKG - C-NMC 2019/C-NMC_training_data", prelim="", table=""):
    """Return names and other files of C-NMC 2019."""
    names = [f"{training}/{name}" for name in cnmc_folds()] if training else []
    others = {}
    if prelim or table:
        files, text = cnmc_prelim()
        names += [f"{prelim}/{name}".lstrip("/") for name in files]
        others[table] = text
    return names, others


def final_phase():
    names, others = cnmc(
        "C-NMC_Leukemia/training_data", f"v/validation_data/{PRELIM}", f"v/validation_data/{PRELIM_CSV}"
    )
    return [*names, *(f"testing_data/C-NMC_test_final_phase_data/{number}.bmp" for number in range(1, 6))], others


def flat(*names):
    return list(names), {}


def idb(folder, suffix, last):
    return flat(
        *(f"{folder}/Im{number:03d}_{int(number < last / 2)}.{suffix}".lstrip("/") for number in range(1, last))
    )


def pbc(top="PBC_dataset_normal_DIB"):
    first = {"ig": ("PMY", "MY", "MMY", "IG"), "neutrophil": ("BNE", "SNE", "NEUTROPHIL"), "basophil": ("BA",)}
    first |= {"eosinophil": ("EO",), "erythroblast": ("ERB",), "lymphocyte": ("LY",), "monocyte": ("MO",)}
    first["platelet"] = ("PLATELET",)
    return flat(*(f"{top}/{label}/{mark}_{100 + n}.jpg" for label in first for mark in first[label] for n in range(3)))


def munich_aml():
    codes = ("BAS", "EBO", "MYO", "NGS", "PMB")
    names, _ = flat(*(f"AML-Cytomorphology/{code}/{code}_{n:04d}.tiff" for code in codes for n in range(1, 4)))
    return names, {"annotations.dat": "MYO/MYO_0001.tiff MYO nan nan\n"}


def munich_mll(top="PKG - AML-Cytomorphology_MLL_Helmholtz_v1/data"):
    """Four patients of each of three subtypes."""
    patients = {"control": "AEC AFX BAA BBC", "NPM1": "AQK BBB CAS CBN", "RUNX1_RUNX1T1": "CCC DDD EEE FFF"}
    names = [
        f"{top}/{kind}/{who}/image_{n}.tif" for kind in patients for who in patients[kind].split() for n in range(2)
    ]
    return names, {"metadata.csv": "patient_id,sex_1f_2m\nAEC,1\n"}


def raabin(subsets=("Train", "TestA", "TestB")):
    cells = ("Basophil", "Eosinophil", "Lymphocyte", "Monocyte", "Neutrophil")
    return flat(
        *(
            f"{subset}/{cell}/20190526_16295{n}_0.jpg"
            for subset in subsets
            for cell in cells
            for n in range(3)
            if n or subset != "TestB"
        )
    )


def attri(top="LeukemiaAttri_Dataset/H_100X_C2/Images/", field="{n}_1000"):
    """Four patients of each of three diagnoses, the last of each in the owner's test set."""
    patients = {"ALL": (4, 35, 6, 18), "AML": (15, 46, 9, 11), "APML": (23, 24, 25, 26)}
    names = [
        f"{top}{'test' if who == patients[kind][3] else 'train'}/{who}_{field.format(n=n)}_{kind}.png"
        for kind in patients
        for who in patients[kind]
        for n in range(10, 12)
    ]
    return names, {"LeukemiaAttri_Dataset/H_100X_C2/json_labels/train.json": "{}"}


ATTRI = {
    (kind, subset): {"train": 6, "test": 2}[subset] for kind in ("ALL", "AML", "APML") for subset in ("train", "test")
}
# Name: (names and other files), release, images by (class, subset), number of groups.
KNOWN = {
    "C-NMC folds": (cnmc(), "C-NMC 2019", {("all", ""): 18, ("hem", ""): 18}, 12),
    "C-NMC and preliminary": (
        cnmc("C-NMC_training_data", f"{PRELIM}/{PRELIM}", f"{PRELIM}/{PRELIM_CSV}"),
        "C-NMC 2019",
        {("all", "train"): 18, ("hem", "train"): 18, ("all", "test"): 3, ("hem", "test"): 2},
        16,
    ),
    "C-NMC with final phase": (
        final_phase(),
        "C-NMC 2019",
        {("all", "train"): 18, ("hem", "train"): 18, ("all", "test"): 3, ("hem", "test"): 2},
        16,
    ),
    "preliminary alone": (cnmc("", PRELIM, PRELIM_CSV), "C-NMC 2019", {("all", ""): 3, ("hem", ""): 2}, 4),
    "preliminary beside its table": (cnmc("", "", PRELIM_CSV), "C-NMC 2019", {("all", ""): 3, ("hem", ""): 2}, 4),
    "ALL-IDB1": (idb("ALL_IDB1/im", "jpg", 9), "ALL-IDB1", {("blast", ""): 4, ("healthy", ""): 4}, 0),
    "ALL-IDB2": (idb("ALL_IDB2/img", "tif", 9), "ALL-IDB2", {("blast", ""): 4, ("healthy", ""): 4}, 0),
    "ALL-IDB2 flat": (idb("", "tif", 9), "ALL-IDB2", {("blast", ""): 4, ("healthy", ""): 4}, 0),
    "PBC": (pbc(), "PBC", {(label, ""): {"ig": 12, "neutrophil": 9}.get(label, 3) for label in BLOOD}, 0),
    "Munich AML": (munich_aml(), "Munich AML", {(code, ""): 3 for code in ("BAS", "EBO", "MYO", "NGS", "PMB")}, 0),
    "Munich MLL": (munich_mll(), "Munich MLL", {(kind, ""): 8 for kind in ("control", "NPM1", "RUNX1_RUNX1T1")}, 12),
    "Raabin": (
        raabin(),
        "Raabin-WBC",
        {
            (cell, subset): 2 if subset == "test_b" else 3
            for cell in ("Basophil", "Eosinophil", "Lymphocyte", "Monocyte", "Neutrophil")
            for subset in ("train", "test_a", "test_b")
        },
        0,
    ),
    "LeukemiaAttri": (attri(), "LeukemiaAttri", ATTRI, 12),
    "LeukemiaAttri at 40x": (attri("H_40X_C2/images/", "{n}_7_400"), "LeukemiaAttri", ATTRI, 12),
}


def recognise(names, others=None):
    texts = {tuple(name.split("/")): text.encode for name, text in (others or {}).items()}
    return releases.recognised([tuple(name.split("/")) for name in names], texts)


@pytest.mark.parametrize("case", KNOWN)
def test_known_releases_tell_class_subset_and_group(case):
    (names, others), name, counts, groups = KNOWN[case]
    found = recognise(names, others)
    assert name in found.release.name
    places = list(found.places.values())
    told = [(place.label, place.subset) for place in places]
    assert {each: told.count(each) for each in set(told)} == counts
    assert len({place.group for place in places} - {""}) == groups
    assert bool(groups) == bool(found.release.group)


def test_subjects_of_cnmc_keep_their_h():
    found = recognise(*KNOWN["C-NMC and preliminary"][0])
    groups = {place.group: place.label for place in found.places.values()}
    assert groups["5"] == "all" and groups["H5"] == "hem"
    assert groups["57"] == "all" and groups["H49"] == "hem"
    labels = {"/".join(parts): place.label for parts, place in found.places.items()}
    assert labels[f"{PRELIM}/{PRELIM}/1.bmp"] == "all"
    assert labels[f"{PRELIM}/{PRELIM}/3.bmp"] == "hem"


OWN_SPLITS = {
    "C-NMC": {f"{('train', 'valid', 'test')[n % 3]}/{name.split('/', 1)[1]}": n for n, name in enumerate(cnmc_folds())},
    "PBC": {name.replace("top", ("Training", "Test")[n % 2]): n for n, name in enumerate(pbc("top")[0])},
    "Munich MLL": {name.replace("top", ("train", "test")[n % 2]): n for n, name in enumerate(munich_mll("top")[0])},
}


@pytest.mark.parametrize("release", OWN_SPLITS)
def test_a_split_that_a_user_made_of_a_release_is_kept(release):
    found = recognise(OWN_SPLITS[release])
    assert release in found.release.name
    for parts, place in found.places.items():
        assert place.subset == {"valid": "val", "Training": "train", "Test": "test"}.get(parts[0], parts[0])


STRANGERS = {
    "no names of C-NMC": [
        f"fold_{fold}/{label}/{n}.bmp" for fold in range(3) for label in ("all", "hem") for n in range(4)
    ],
    "numbers without a table": [f"{number}.bmp" for number in range(9)],
    "half of another dataset": [
        *KNOWN["C-NMC folds"][0][0],
        *(f"other/{label}/{n}.png" for label in "ab" for n in range(18)),
    ],
    "classes of PBC, other names": [f"{label}/cell{n}.jpg" for label in BLOOD for n in range(3)],
    "a training set of five cells": raabin(("Train",))[0],
    "five cells, own subsets": raabin(("train", "test"))[0],
    "Raabin's subsets, other classes": [
        f"{subset}/{label}/{n}.jpg" for subset in ("Train", "TestA") for label in "ab" for n in range(4)
    ],
    "other codes": [f"{code}/{code}_{n:04d}.tiff" for code in ("ABC", "XYZ") for n in range(4)],
    "a code in another folder": [f"{code}/MYO_{n:04d}.tiff" for code in ("BAS", "EOS") for n in range(4)],
    "patients of other classes": [f"{label}/AEC/image_{n}.tif" for label in ("sick", "well") for n in range(4)],
    "one class": [f"img/Im{n:03d}_1.tif" for n in range(1, 9)],
    "diagnoses in other names": [f"images/{n}_{kind}.png" for kind in ("ALL", "AML") for n in range(4)],
    "nothing": [],
}


@pytest.mark.parametrize("case", STRANGERS)
def test_a_dataset_that_only_looks_alike_is_not_taken(case):
    assert recognise(STRANGERS[case]) is None


def test_a_few_foreign_images_do_not_hide_a_release():
    names, others = KNOWN["Munich MLL"][0]
    found = recognise([*names, "docs/logo.png"], others)
    assert "Munich MLL" in found.release.name
    assert ("docs", "logo.png") not in found.places


def test_two_releases_at_once_are_refused():
    names = [*KNOWN["ALL-IDB1"][0][0], *KNOWN["ALL-IDB2"][0][0]]
    with one_line_error("ALL-IDB1 (8 images)", "ALL-IDB2 (8 images)", "by itself"):
        recognise(names)


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("", ("new_names, labels, Patient_ID", "nothing")),
        ("name,class\n1.bmp,1\n", ("new_names, labels, Patient_ID", "name, class")),
        ("Patient_ID,new_names,labels\nUID_1_1_1_all.bmp,1.bmp,2\n", ("1.bmp", "'2'", "1, 0")),
        ('Patient_ID,new_names,labels\n"UID_1,1.bmp,1\n', ("damaged",)),
    ],
    ids=["empty", "columns", "class", "quotes"],
)
def test_a_damaged_table_is_one_line(text, facts):
    names, _ = cnmc("", PRELIM, PRELIM_CSV)
    with one_line_error(PRELIM_CSV, *facts):
        recognise(names, {PRELIM_CSV: text})


def test_an_image_that_the_table_lacks_has_no_class():
    names, others = cnmc("", PRELIM, PRELIM_CSV)
    found = recognise([*names, f"{PRELIM}/11.bmp"], others)
    assert (PRELIM, "11.bmp") not in found.places
    assert len(found.places) == 5


# ---- imported


def draw(folder, names, others=None):
    """Write a release: different images of 24 pixels under these names, and other files."""
    random = np.random.default_rng(len(names))
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (24, 24, 3), dtype=np.uint8)).save(folder / name)
    for name, text in (others or {}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def zipped(folder):
    with zipfile.ZipFile(folder.with_suffix(".zip"), "w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder))
    return folder.with_suffix(".zip")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("LEUKOBENCH_DATA", str(tmp_path / "home"))


def rows_of(imported, name, column):
    path = imported.path / name
    return {row["image"]: row[column] for row in read_csv(path, ("image", column))} if path.exists() else {}


def counts_of(imported):
    """Count the images of a dataset by class and subset, and its groups."""
    subsets, groups = rows_of(imported, "split.csv", "split"), rows_of(imported, "groups.csv", "group")
    told = [(row.label, subsets.get(row.image, "")) for row in imported.index]
    return {each: told.count(each) for each in set(told)}, len(set(groups.values()))


@pytest.mark.parametrize("case", KNOWN)
def test_a_release_is_imported_as_its_names_say(tmp_path, case):
    content, name, counts, groups = KNOWN[case]
    folder = draw(tmp_path / "in", *content)
    source = zipped(folder) if list(KNOWN).index(case) % 2 else folder
    imported = importer.import_dataset(source, "new")
    assert name in imported.placement.release.name
    assert read_json(imported.path / "dataset.json")["release"] == imported.placement.release.name
    assert counts_of(imported) == (counts, groups)
    assert not imported.quarantined
    assert imported.placement.left_out.total() == (5 if case == "C-NMC with final phase" else 0)


@pytest.mark.parametrize("case", [case for case in KNOWN if KNOWN[case][3] > 4])
def test_a_grouped_split_keeps_patients_together(tmp_path, case):
    imported = importer.import_dataset(draw(tmp_path / "in", *KNOWN[case][0]), "new")
    manifest = splits.prepare_split("new", "grouped", 42).manifest
    places = {}
    for row in manifest.rows:
        places.setdefault(row.group, set()).add(row.split)
    assert len(places) == KNOWN[case][3]
    assert all(len(subsets) == 1 for subsets in places.values())
    assert set().union(*places.values()) == {"train", "val", "test"}
    groups = rows_of(imported, "groups.csv", "group")
    assert {groups[row.image] for row in manifest.rows} == set(places)


def test_own_groups_come_before_those_of_a_release(tmp_path):
    names, others = KNOWN["ALL-IDB2"][0]
    fields = "image,group\n" + "".join(f"{name},field-{number // 2}\n" for number, name in enumerate(names))
    (tmp_path / "fields.csv").write_text(fields)
    imported = importer.import_dataset(draw(tmp_path / "in", names, others), "new", groups=tmp_path / "fields.csv")
    assert counts_of(imported)[1] == 4
    names, others = KNOWN["C-NMC folds"][0]
    (tmp_path / "one.csv").write_text(f"image,group\n{names[0]},mine\n")
    imported = importer.import_dataset(draw(tmp_path / "cnmc", names, others), "own", groups=tmp_path / "one.csv")
    assert set(rows_of(imported, "groups.csv", "group").values()) >= {"mine", "H0", "5", "H5"}


def test_a_stranger_is_imported_by_its_folders(tmp_path):
    imported = importer.import_dataset(draw(tmp_path / "in", STRANGERS["patients of other classes"]), "new", as_is=True)
    assert imported.placement.release is None
    assert "release" not in read_json(imported.path / "dataset.json")
    assert counts_of(imported) == ({("sick", ""): 4, ("well", ""): 4}, 0)


def test_what_was_recognised_is_said(tmp_path):
    names, others = KNOWN["Munich MLL"][0]
    text = run_guide("data", "import", draw(tmp_path / "in", names, others), "--name", "mll").stdout
    assert_facts(
        " ".join(text.split()), "Recognised AML-Cytomorphology_MLL_Helmholtz", "not tried on a copy", "(patient)"
    )
    assert "diagnosis of the patient" in " ".join(text.split())


def test_patients_on_both_sides_of_an_owners_split_are_said(tmp_path):
    names, others = KNOWN["LeukemiaAttri"][0]
    names = [name.replace("train/4_10_", "test/4_10_").replace("train/9_11_", "test/9_11_") for name in names]
    text = run_guide("data", "import", draw(tmp_path / "in", names, others), "--name", "attri").stderr
    assert_facts(" ".join(text.split()), "2 of 12 groups", "several subsets", "such as 4")


def test_the_level_of_the_classes_switches_the_reader_off(tmp_path):
    folder = draw(tmp_path / "in", *KNOWN["Munich MLL"][0])
    placed = importer.import_dataset(folder, "new", options=Options(classes_are=3)).placement
    assert placed.release is None
    assert set(placed.counts("label")) == {"control", "NPM1", "RUNX1_RUNX1T1"}


@pytest.mark.parametrize(("name", "size"), [("bloodmnist", 28), ("BloodMNIST_64", 64)])
def test_bloodmnist_is_imported_with_its_split(tmp_path, name, size):
    imported = importer.import_dataset(saved(tmp_path / f"{name}.npz", size=size))
    assert (imported.name, imported.placement.release) == (name, releases.BLOODMNIST)
    counts = {(label, subset): 2 if subset == "train" else 1 for label in BLOOD for subset in ("train", "val", "test")}
    assert counts_of(imported) == (counts, 0)
    content = arrays(size)
    pixels = np.asarray(Image.open(imported.path / "ig/bloodmnist_val_00003.png"))
    assert (pixels == content["val_images"][3]).all()
    assert {row.width for row in imported.index} == {size}


def test_another_medmnist_file_is_imported_with_numbers(tmp_path):
    imported = importer.import_dataset(saved(tmp_path / "organ.npz", classes=4, grey=True), as_is=True)
    assert imported.placement.release is None
    assert sorted({row.label for row in imported.index}) == ["0", "1", "2", "3"]


@pytest.mark.parametrize("compressed", [True, False], ids=["compressed", "stored"])
def test_a_npz_with_one_changed_byte_is_refused_whole(tmp_path, compressed):
    path = saved(tmp_path / "bloodmnist.npz", compressed)
    content = bytearray(path.read_bytes())
    content[content.index(b"train_images.npy") + 3_000] ^= 1
    path.write_bytes(content)
    with one_line_error("bloodmnist.npz", "train_images", "damaged"):
        importer.import_dataset(path)
    assert not (tmp_path / "home/raw/bloodmnist").exists()


def test_a_npz_in_a_folder_is_pointed_out(tmp_path):
    (tmp_path / "in").mkdir()
    saved(tmp_path / "in/bloodmnist.npz")
    with one_line_error("holds no images", "bloodmnist.npz itself"):
        importer.import_dataset(tmp_path / "in")


def test_every_release_is_in_the_documentation():
    lines = (PROJECT / "docs/dataset.md").read_text(encoding="utf-8").splitlines()
    for release in releases.RELEASES:
        start = f"| [{release.name.partition(',')[0]}"
        (line,) = [line for line in lines if line.startswith(start) and release.url in line]
        assert ("†" in line) == (not release.tried)
        assert release.licence in line
        assert not release.group or f"| {release.group};" in line


# ---- .npz


def arrays(size=28, classes=8, grey=False, seed=0, counts=(("train", 16), ("val", 8), ("test", 8))):
    """Return arrays as in a MedMNIST file, labels in turn."""
    random = np.random.default_rng(seed)
    found = {}
    for subset, count in counts:
        shape = (count, size, size) if grey else (count, size, size, 3)
        found[f"{subset}_images"] = random.integers(0, 256, shape, dtype=np.uint8)
        found[f"{subset}_labels"] = (np.arange(count) % classes).astype(np.uint8)[:, None]
    return found


def saved(path, compressed=True, **changes):
    content = (
        arrays(**{key: changes.pop(key) for key in list(changes) if key in ("size", "classes", "grey", "counts")})
        | changes
    )
    content = {key: value for key, value in content.items() if value is not None}
    (np.savez_compressed if compressed else np.savez)(path, **content)
    return path


@pytest.mark.parametrize(("name", "size", "compressed"), [("bloodmnist", 28, True), ("bloodmnist_64", 64, False)])
def test_bloodmnist_is_read_image_by_image(tmp_path, name, size, compressed):
    path = saved(tmp_path / f"{name}.npz", compressed, size=size)
    content = arrays(size)
    with npz_source.open_npz(path) as source:
        assert len(source.entries) == 32
        found = releases.recognised([entry.parts for entry in source.entries])
        assert found.release is releases.BLOODMNIST
        # In the order of the file, then backwards.
        for entry in [*source.entries, *reversed(source.entries)]:
            place = found.places[entry.parts]
            number = int(entry.parts[-1].split("_")[-1].removesuffix(".png"))
            assert BLOOD[number % 8] == place.label
            pixels = np.asarray(Image.open(io.BytesIO(entry.read())))
            assert (pixels == content[f"{place.subset}_images"][number]).all()


@pytest.mark.parametrize(
    ("name", "changes", "classes"),
    [
        ("pathmnist", {"classes": 9}, [str(number) for number in range(9)]),
        ("organamnist", {"classes": 11, "grey": True}, [f"{number:02d}" for number in range(11)]),
        ("tissuemnist", {"classes": 8, "grey": True}, [str(number) for number in range(8)]),
        ("bloodmnist", {"classes": 9}, [str(number) for number in range(9)]),
        ("bloodmnist", {"grey": True}, [str(number) for number in range(8)]),
        ("cells", {"classes": 8}, [str(number) for number in range(8)]),
    ],
)
def test_another_file_gets_numbers_as_classes(tmp_path, name, changes, classes):
    with npz_source.open_npz(saved(tmp_path / f"{name}.npz", **changes)) as source:
        assert sorted({entry.parts[1] for entry in source.entries}) == classes
        assert Image.open(io.BytesIO(source.entries[0].read())).mode == "RGB"
        assert releases.recognised([entry.parts for entry in source.entries]) is None


FORMS = {
    "no zip": (lambda path: path.write_bytes(b"PK nothing"), ("damaged",)),
    "truncated": (lambda path: path.write_bytes(saved(path).read_bytes()[:-200]), ("damaged",)),
    "no arrays": (lambda path: np.savez(path, x=np.zeros(3)), ("holds x", "train_images")),
    "no labels": (lambda path: saved(path, train_labels=None), ("lacks the array train_labels",)),
    "labels of several columns": (
        lambda path: saved(path, val_labels=np.zeros((8, 14), np.uint8)),
        ("val_labels", "(8, 14)"),
    ),
    "labels with fractions": (lambda path: saved(path, val_labels=np.zeros(8)), ("val_labels", "float64")),
    "too few labels": (lambda path: saved(path, val_labels=np.zeros(7, int)), ("val_labels", "8 images")),
    "negative labels": (lambda path: saved(path, val_labels=np.full(8, -1)), ("val_labels", "0 to 999")),
    "volumes": (
        lambda path: saved(path, train_images=np.zeros((16, 8, 8, 8), np.uint8)),
        ("train_images", "(16, 8, 8, 8)"),
    ),
    "floats": (lambda path: saved(path, train_images=np.zeros((16, 8, 8))), ("train_images", "float64", "uint8")),
    "objects": (
        lambda path: np.savez(path, train_images=np.array([object] * 3), train_labels=np.zeros(3, int)),
        ("train_images",),
    ),
    "by columns": (
        lambda path: saved(path, train_images=np.asfortranarray(np.zeros((16, 8, 8, 3), np.uint8))),
        ("train_images", "ascontiguousarray"),
    ),
    "no file": (lambda path: None, ("There is no",)),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_damaged_npz_is_one_line(tmp_path, form):
    path = tmp_path / "bloodmnist.npz"
    make, facts = FORMS[form]
    make(path)
    with one_line_error("bloodmnist.npz", *facts), npz_source.open_npz(path):
        pass


def test_a_size_that_a_header_only_claims_is_not_believed(tmp_path):
    path = saved(tmp_path / "bloodmnist.npz", compressed=False)
    content = path.read_bytes()
    assert content.count(b"(16, 28, 28, 3)") == 1
    path.write_bytes(content.replace(b"(16, 28, 28, 3)", b"(99999,28,28,3)"))
    with one_line_error("train_images", "damaged"), npz_source.open_npz(path):
        pass
