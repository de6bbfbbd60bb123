"""Augmented copies of training images, made before training: which ones, how they are changed and stored."""

import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from checks import contents, one_line_error

from data import manifest as manifests
from data.loading import augment as augmentation
from data.loading import offline_copies
from data.loading.augmentation_config import Augmentation
from data.loading.image_set import View
from data.loading.offline_copies import Offline
from data.loading.pipeline import loader
from data.splitting import splits
from data.splitting.splits import SplitFolder
from utils.errors import LeukoBenchError

ONE = Offline(copies=1)


@pytest.fixture
def split(home):
    """The split of `tiny`, without any copies."""
    folder = splits.prepare_split("tiny")
    shutil.rmtree(home / "data" / "augmented", ignore_errors=True)
    return folder


@pytest.fixture
def few(split):
    """The same with a dozen training images, which are quick to copy."""
    train = split.manifest.subset("train")
    keep = {row.image for row in train[::4]}
    return SplitFolder(
        split.path, manifests.from_rows([r for r in split.manifest.rows if r.split != "train" or r.image in keep])
    )


def test_copies_are_of_training_images_alone_and_the_split_does_not_change(split):
    before, table = contents(split.path), split.manifest
    folder = offline_copies.prepare(split, Offline(copies=2))
    made = offline_copies.files(folder)
    expected = [f"{row.image}-copy{k}.png" for row in table.subset("train") for k in (1, 2)]
    assert [path.relative_to(folder / "train").as_posix() for path, _ in made] == expected
    assert all(path.is_file() and path.parent.name == label for path, label in made)
    assert set(contents(folder)) == {"copies.csv", *(f"train/{name}" for name in expected)}
    assert contents(split.path) == before
    again = splits.prepare_split("tiny").manifest
    assert (again.hash, again.test_identity) == (table.hash, table.test_identity)
    read = loader().read(split.path, "train", table.classes, 32, 10**9, copies=folder / "train")
    assert len(read) == 3 * len(table.subset("train"))
    assert read.names[-len(made) :] == expected
    np.testing.assert_array_equal(read.labels[-len(made) :], [table.classes.index(label) for _, label in made])


def test_a_copy_is_a_function_of_seed_content_and_number(few):
    first = contents(offline_copies.prepare(few, Offline(copies=2)))
    again = offline_copies.files(offline_copies.prepare(few, Offline(copies=2)))
    stamps = {path: path.stat().st_mtime_ns for path, _ in again}
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps  # kept, not made again
    shutil.rmtree(offline_copies.place(few, Offline(copies=2)))
    assert contents(offline_copies.prepare(few, Offline(copies=2))) == first
    images = [content for name, content in first.items() if name != offline_copies.RECORD]
    assert len(set(images)) == len(images)
    # Neither which other images there are nor how many copies are asked for changes one.
    fewer = SplitFolder(few.path, manifests.from_rows(few.manifest.rows[12:]))
    rest = contents(offline_copies.prepare(fewer, ONE))
    del rest[offline_copies.RECORD]
    assert rest and all(first[name] == content for name, content in rest.items())
    other = contents(offline_copies.prepare(few, Offline(copies=2, seed=7)))
    assert set(other) == set(first) and all(other[name] != first[name] for name in first)


@pytest.mark.parametrize("copies", [0, 1])
def test_balance_fills_every_class_up_to_the_largest(split, copies):
    gone = [row.image for row in split.manifest.subset("train") if row.label == "Pro"][:9]
    uneven = SplitFolder(split.path, manifests.from_rows([r for r in split.manifest.rows if r.image not in gone]))
    originals = uneven.manifest.counts()["train"]
    folder = offline_copies.prepare(uneven, Offline(copies=copies, balance=True))
    made = Counter(label for _, label in offline_copies.files(folder))
    together = {label: count + made[label] for label, count in originals.items()}
    assert set(together.values()) == {max(originals.values()) * (copies + 1)}
    largest = max(originals, key=originals.get)
    assert made[largest] == copies * originals[largest]
    numbers = Counter(copy.row.image for copy in offline_copies.planned(uneven.manifest, Offline(balance=True)))
    of_pro = [numbers[row.image] for row in uneven.manifest.subset("train") if row.label == "Pro"]
    assert max(of_pro) - min(of_pro) <= 1


def test_a_stop_leaves_nothing_and_remains_of_a_killed_process_are_removed(few):
    def stop(done, total):
        assert total == len(few.manifest.subset("train"))
        if done == 5:
            raise KeyboardInterrupt

    path = offline_copies.place(few, ONE)
    killed = path.with_name(f".99999999.{path.name}.partial")
    (killed / "train").mkdir(parents=True)
    with pytest.raises(KeyboardInterrupt):
        offline_copies.prepare(few, ONE, stop)
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder, copy: (folder / "copies.csv").write_bytes(b"\xff\xfe"),
        lambda folder, copy: copy.write_bytes(copy.read_bytes()[:100]),
        lambda folder, copy: copy.write_bytes(copy.read_bytes()[:200] + b"?" + copy.read_bytes()[201:]),
        lambda folder, copy: copy.with_name("more.png").write_bytes(copy.read_bytes()),
        lambda folder, copy: copy.unlink(),
    ],
    ids=["record", "cut", "one byte", "one more", "one less"],
)
def test_damaged_copies_are_made_again(few, damage):
    folder = offline_copies.prepare(few, ONE)
    whole = contents(folder)
    damage(folder, offline_copies.files(folder)[3][0])
    assert offline_copies.prepare(few, ONE) == folder
    assert contents(folder) == whole
    assert list(folder.parent.iterdir()) == [folder]


def test_another_process_may_be_faster(few, monkeypatch):
    folder = offline_copies.prepare(few, ONE)
    before = folder.stat().st_ino
    seen = iter([False])  # as if it came only now
    real = offline_copies.is_whole
    monkeypatch.setattr(offline_copies, "is_whole", lambda *given: next(seen, None) is None and real(*given))
    assert offline_copies.prepare(few, ONE) == folder
    assert folder.stat().st_ino == before and list(folder.parent.iterdir()) == [folder]


def test_a_damaged_image_and_no_change_are_one_line_each(few, tmp_path):
    broken = tmp_path / "split"
    shutil.copytree(few.path, broken)
    row = few.manifest.subset("train")[0]
    (broken / "train" / row.image).unlink()
    (broken / "train" / row.image).write_bytes(b"no image")
    with pytest.raises(LeukoBenchError, match=rf"{Path(row.image).name} cannot be read \(.*data check"):
        offline_copies.prepare(SplitFolder(broken, few.manifest), ONE)
    with one_line_error("--set offline.augmentation.flips=true"):
        offline_copies.prepare(few, Offline(copies=1, augmentation=Augmentation()))


def test_a_copy_is_changed_as_on_the_fly(split):
    images = loader().read(split.path, "train", split.manifest.classes, 48, budget=10**9)
    change = Augmentation(
        flips=True, quarter_turns=True, rotation=20, zoom=0.2, shift=0.1, brightness=0.1, contrast=0.2, colour=0.2
    )
    [(pixels, _)] = loader().training_batches(images, len(images), View(change, 3, 1))
    order = augmentation.shuffled(len(images), 3, 1)
    drawn = np.random.Generator(np.random.Philox(key=[3, 3])).random((len(images), len(augmentation.DRAWS)), np.float32)
    for position, index in list(enumerate(order))[:12]:
        copy = loader().augment(images.pixels[index], drawn[index], change)
        assert np.abs(copy - pixels[position].numpy()).max() <= 0.51  # half a level: files hold whole ones


def test_images_that_are_not_square_keep_every_pixel():
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (20, 33, 3), dtype=np.uint8)
    seen = set()
    for _ in range(40):
        draws = random.random(len(augmentation.DRAWS), np.float32)
        turned = loader().augment(pixels, draws, Augmentation(flips=True, quarter_turns=True))
        ways = [np.rot90(side, turn) for side in (pixels, pixels[:, ::-1]) for turn in range(4)]
        found = [way for way, candidate in enumerate(ways) if np.array_equal(candidate, turned)]
        assert len(found) == 1
        seen.add(found[0])
        moved = loader().augment(pixels, draws, Augmentation(rotation=30, zoom=0.2, shift=0.1))
        assert moved.shape == pixels.shape and moved.dtype == np.uint8
        assert abs(moved.mean() - pixels.mean()) < 12  # filled with its own reflection, not with black
    assert seen == set(range(8))


def test_the_command_says_what_was_made_and_how_to_train_with_it(split, capsys):
    from guide.augment import augment

    augment("tiny", copies=1, balance=True, set_=["shift=0.1"])
    shown = capsys.readouterr().out
    counts = split.manifest.counts()["train"]
    largest = max(counts.values())
    for label, count in counts.items():
        row = next(line for line in shown.splitlines() if line.startswith(f"│ {label} "))
        assert [int(number) for number in re.findall(r"\d+", row)] == [count, 2 * largest - count, 2 * largest]
    settings = "--set offline.copies=1 --set offline.balance=true --set offline.augmentation.shift=0.1"
    assert f"Next: python run_guide.py train cnn --dataset tiny {settings}\n" in shown
    with one_line_error("--copies of at least 1", "--balance"):
        augment("tiny", copies=0)
    with one_line_error("'offline.augmentation.flip'", "'flips'?"):
        augment("tiny", set_=["flip=true"])
