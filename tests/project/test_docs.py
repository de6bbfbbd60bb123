"""The documents: the files, functions and links that they name exist."""

import re

import pytest

from utils.paths import PROJECT

PAGES = [
    PROJECT / name for name in ("README.md", "CONTRIBUTING.md", "docs/samples/README.md", "docs/results/README.md")
]
PAGES += sorted((PROJECT / "docs").glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(PROJECT).as_posix())
def test_files_and_functions_named_in_a_document_exist(page):
    named = re.findall(r"`([\w/]+\.py)(?:: (\w+))?`", page.read_text(encoding="utf-8"))
    for name, function in named:
        path = PROJECT / name
        if "/" not in name:  # a file of a folder named beside it
            continue
        assert path.is_file(), name
        assert not function or re.search(rf"^(def|async def|class) {function}\b", path.read_text(), re.MULTILINE), name


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(PROJECT).as_posix())
def test_links_of_a_document_exist(page):
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text(encoding="utf-8")):
        file, _, anchor = target.partition("#")
        linked = (page.parent / file).resolve() if file else page
        assert linked.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in anchors, target
