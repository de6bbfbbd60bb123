"""Tell subsets, parts and classes apart by the structure of a source's folders.

Folders that hold sub-folders of the same names are subsets or parts (folds, sites, patients); the classes lie below.
The exception are classes that are divided alike, into slides of the same numbers for example: there names decide
(`folder_roles`), and where these do not either, nothing is guessed.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from data.datasets import folder_roles
from data.datasets.folder_roles import key
from utils.errors import LeukoBenchError

Parts = tuple[str, ...]
_SHARED = 0.5  # least share of a folder's sub-folders that others must have, too
_TIMES = 3  # how many times more patients than classes tell the one from the other
_FEW = 0.05  # share of the images below which folders without sub-folders may be strays beside a dataset's folder
SHOWN = 4  # names in a message


class UnclearLayout(LeukoBenchError):
    """The folders do not tell which of them are classes.

    Attributes:
        levels: for each level that may hold the classes, counted from 1 below the source, the names there.
    """

    def __init__(self, reason: str, levels: Mapping[int, Sequence[str]]) -> None:
        self.levels = {level: sorted(names) for level, names in levels.items()}
        ways = [f"--classes-are {level} ({some(names)})" for level, names in self.levels.items()]
        super().__init__(f"{reason} Add {' or '.join(ways)}; --ignore NAME leaves out a folder.")


@dataclass(frozen=True)
class Role:
    """What the folders above an image say.

    Attributes:
        label: key of the class; see `folder_roles.key`.
        subset: "train", "val", "test", "test_<name>" or "".
        part: folder of a fold, site or patient above the classes; "" for none.
        group: patient or slide; "" where no folder tells.
    """

    label: str = ""
    subset: str = ""
    part: str = ""
    group: str = ""


@dataclass
class Folder:
    """A folder of a source: its path below the source, folders by name, and the images in and below it."""

    parts: Parts = ()
    folders: dict[str, "Folder"] = field(default_factory=dict)
    images: int = 0

    def inner(self) -> "Folder":
        """Return the folder that holds the sub-folders, below wrappers such as images/."""
        place = self
        while len(place.folders) == 1 and folder_roles.is_wrapper(next(iter(place.folders))):
            place = next(iter(place.folders.values()))
        return place


@dataclass(frozen=True)
class Kid:
    """Folders of one name on one level, with their roles."""

    name: str
    members: tuple[tuple[Folder, Role], ...]

    @property
    def images(self) -> int:
        """Number of images below."""
        return sum(folder.images for folder, _ in self.members)

    @property
    def sub(self) -> dict[str, str]:
        """Names of the folders below, by key."""
        return {key(name): name for folder, _ in self.members for name in folder.inner().folders}


def read(paths: Iterable[Parts]) -> dict[Parts, Role]:
    """Find the class folders of images and what these and the folders above them stand for.

    Args:
        paths: folders and file names of the images below the source.

    Returns:
        The role of each class folder, by its path. Images in no such folder have no class. A test subset that two
        folders would name gets a number.

    Raises:
        UnclearLayout: names and structure do not tell where the classes are.
        LeukoBenchError: each fold has a split of its own.
    """
    front: list[tuple[Folder, Role]] = [(_tree(paths), Role())]
    while kids := _kids(front):
        if len(kids) == 1:
            front = list(kids[0].members)
            continue
        chosen, what = _divide(kids)
        if what == "classes":
            return {folder.parts: replace(role, label=key(kid.name)) for kid in chosen for folder, role in kid.members}
        front = [member for kid in chosen for member in _entered(kid, what)]
        if what == "subsets":
            front = _numbered(front)
    return {}


def at_level(paths: Iterable[Parts], level: int) -> dict[Parts, Role]:
    """Return the roles of the folders at a given level, 1 for those of the source itself, as classes."""
    roles: dict[Parts, Role] = {}
    for parts in paths:
        if len(parts) > level:
            above = parts[: level - 1]
            subset = next(filter(None, map(folder_roles.subset_of, reversed(above))), "")
            group = next(filter(folder_roles.is_patient, above), "")
            part = next((name for name in above if folder_roles.is_part(name)), "")
            roles[parts[:level]] = Role(key(parts[level - 1]), subset, part, group)
    return roles


def below_classes(paths: Iterable[Parts], classes: Mapping[Parts, Role]) -> bool:
    """Say whether the folders directly below the class folders are subsets: Benign/train, Benign/test."""
    depths = {len(parts) for parts in classes}
    names = {parts[depth] for parts in paths for depth in depths if parts[:depth] in classes and len(parts) > depth + 1}
    return bool(names) and all(map(folder_roles.subset_of, names))


def some(names: Sequence[str]) -> str:
    """Return the first of many names."""
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def _tree(paths: Iterable[Parts]) -> Folder:
    root = Folder()
    for parts in paths:
        place = root
        place.images += 1
        for depth, name in enumerate(parts[:-1], 1):
            place = place.folders.setdefault(name, Folder(parts[:depth]))
            place.images += 1
    return root


def _kids(front: Sequence[tuple[Folder, Role]]) -> list[Kid]:
    """Return the folders of the next level, without those that are strays by name."""
    several = len({key(name) for folder, _ in front for name in folder.folders}) > 1
    members: dict[str, list[tuple[Folder, Role]]] = {}
    names: dict[str, Counter[str]] = {}
    for folder, role in front:
        for name, each in (folder.inner() if several else folder).folders.items():
            members.setdefault(key(name), []).append((each, role))
            names.setdefault(key(name), Counter())[name] += each.images
    kids = [Kid(names[each].most_common(1)[0][0], tuple(members[each])) for each in sorted(members)]
    data = [kid for kid in kids if not folder_roles.is_stray(kid.name)]
    return data or kids


def _divide(kids: list[Kid]) -> tuple[list[Kid], str]:
    """Return the folders of a level that matter, and what they are: "classes", "subsets", "parts" or "wrapper"."""
    subsets = [kid for kid in kids if folder_roles.subset_of(kid.name) and kid.sub]
    known = {name for kid in subsets for name in kid.sub}
    if any(folder_roles.subset_of(kid.name) == "train" for kid in subsets):
        if folder_roles.is_fold(subsets[0].members[0][1].part):
            folds = sorted({role.part for kid in subsets for _, role in kid.members})
            raise LeukoBenchError(f"Each of {some(folds)} holds subsets of its own. Import one of these folders.")
        return [kid for kid in kids if kid in subsets or _share(kid, known) >= _SHARED], "subsets"
    core = [kid for kid in kids if _share(kid, {n for other in kids if other is not kid for n in other.sub}) >= _SHARED]
    if len(core) < 2:
        return _unshared(kids)
    below = {name: text for kid in core for name, text in kid.sub.items()}
    if len(below) < 2:
        return _classes(kids)
    what = _shared(core, sorted(below.values()))
    return (kids, what) if what == "classes" else (core, what)


def _unshared(kids: list[Kid]) -> tuple[list[Kid], str]:
    """Divide a level whose folders do not hold folders of the same names."""
    holders = [kid for kid in kids if _holds_subsets(kid)]
    if len(holders) == 1:
        return holders, "wrapper"
    large = max(kids, key=lambda kid: kid.images)
    others = [kid for kid in kids if kid is not large]
    if len(large.sub) > 1:
        if folder_roles.is_wrapper(large.name) and not any(kid.sub for kid in others):
            return [large], "wrapper"
        few = sum(kid.images for kid in others) < _FEW * large.images
        if few and folder_roles.kind_of(list(large.sub.values())) != "part":
            raise _unclear(kids, [large], f"{large.name} has nearly all images, and holds")
    return _classes(kids)


def _shared(core: list[Kid], below: list[str]) -> str:
    """Return what the folders of a level are that hold folders of the same names."""
    tops, third = [kid.name for kid in core], {}
    top, under = folder_roles.kind_of(tops), folder_roles.kind_of(below)
    if under == "subset":
        third = {key(name): name for kid in core for folder, _ in kid.members for name in _third(folder)}
        inner = folder_roles.kind_of(list(third.values())) if len(third) > 1 else "part"
        if top == "class" or inner == "part":
            return "classes"
        if top == "part" or inner == "class":
            return "parts"
    elif top == "subset" and under != "part":
        return "subsets"
    elif top == "part" == under:
        if len(tops) >= _TIMES * len(below):
            return "parts"
        if len(below) >= _TIMES * len(tops):
            return "classes"
    elif "part" in (top, under) and top != "subset":
        return "parts" if top == "part" else "classes"
    elif "class" in (top, under) and top != under:
        return "classes" if top == "class" else "parts"
    raise _unclear(core, core, "They hold the same folders:", list(third.values()))


def _classes(kids: list[Kid]) -> tuple[list[Kid], str]:
    """Take folders as classes, unless all of them look like patients or folds."""
    names = [kid.name for kid in kids]
    if all(folder_roles.is_part(name) and not folder_roles.is_class(name) for name in names):
        level = len(kids[0].members[0][0].parts)
        raise UnclearLayout(f"Folders {some(names)} look like patients, slides or folds, not classes.", {level: names})
    return kids, "classes"


def _unclear(kids: list[Kid], above: list[Kid], reason: str, third: Sequence[str] = ()) -> UnclearLayout:
    """Return the error for folders that may be classes or hold them, one level below or two (below subsets)."""
    names, below = [kid.name for kid in kids], sorted({name for kid in above for name in kid.sub.values()})
    level = len(kids[0].members[0][0].parts)
    inner = next(folder for kid in above for folder, _ in kid.members if folder.inner().folders).inner()
    deeper = {len(inner.parts) + 2: third} if third else {len(inner.parts) + 1: below}
    text = f"Folders {some(names)} may be classes, or hold the classes. {reason} {some(below)}."
    return UnclearLayout(text, {level: names, **deeper})


def _share(kid: Kid, names: set[str]) -> float:
    return len(names & kid.sub.keys()) / len(kid.sub) if kid.sub else 0.0


def _third(folder: Folder) -> list[str]:
    return [name for subset in folder.inner().folders.values() for name in subset.inner().folders]


def _holds_subsets(kid: Kid) -> bool:
    """Say whether a folder holds, at any depth, folders of subsets with class folders."""
    places = [folder.inner() for folder, _ in kid.members]
    while places:
        place = places.pop()
        found = {folder_roles.subset_of(name) for name, folder in place.folders.items() if folder.inner().folders}
        if "train" in found:
            return True
        places += place.folders.values()
    return False


def _entered(kid: Kid, what: str) -> Iterable[tuple[Folder, Role]]:
    for folder, role in kid.members:
        if what == "subsets":
            yield folder, replace(role, subset=_refined(role.subset, kid.name))
        elif what == "parts":
            group = kid.name if folder_roles.is_patient(kid.name) else role.group
            yield folder, replace(role, part=role.part or kid.name, group=group)
        else:
            yield folder, role


def _refined(outer: str, name: str) -> str:
    """Return the subset of a folder within the folder of a subset: test/TestA is "test_a"."""
    inner = folder_roles.subset_of(name)
    return inner if not outer or inner.startswith(outer) else outer


def _numbered(front: list[tuple[Folder, Role]]) -> list[tuple[Folder, Role]]:
    """Give test subsets of folders with different names different names."""
    owners: dict[str, str] = {}  # name of the folder by subset
    found = []
    for folder, role in front:
        subset, number = role.subset, 2
        name = key(folder.parts[-1])
        while subset.startswith("test") and owners.setdefault(subset, name) != name:
            subset, number = f"{role.subset}_{number}", number + 1
        found.append((folder, replace(role, subset=subset)))
    return found
