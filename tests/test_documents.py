"""The documents: the Python that they show runs, and what they name exists."""

import pathlib
import re

import pytest

from drnet_tf.layers import BRANCHES
from tests import source_tree
from tests.source_tree import ROOT

RESULTS = ROOT / "docs" / "results"

DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(ROOT.glob("docs/*.md")),
    *sorted(RESULTS.glob("*.md")),
]

#: Results name what there was when a command wrote them.
WRITTEN_BY_HAND = [path for path in DOCUMENTS if RESULTS not in path.parents]


def _name(path: pathlib.Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _anchors(path: pathlib.Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a document."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_python_of_the_page_on_python_runs(monkeypatch):
    monkeypatch.setitem(BRANCHES, "pointwise", None)  # the page adds it; it is gone afterwards
    path = ROOT / "docs" / "python.md"
    text = path.read_text(encoding="utf-8")
    blocks = list(re.finditer(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    assert blocks
    namespace: dict = {"__name__": "python_page"}
    for block in blocks:
        # Lines of nothing stand for those above the block: an error then names a line of the page.
        above = "\n" * text[: block.start(1)].count("\n")
        exec(compile(above + block[1], str(path), "exec"), namespace)


@pytest.mark.parametrize("path", DOCUMENTS, ids=_name)
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if re.match(r"\w+:", target):
            continue
        file, _, anchor = target.partition("#")
        linked = path.parent / file if file else path
        assert linked.exists(), target
        if anchor:
            assert anchor in _anchors(linked), target


@pytest.mark.parametrize("path", WRITTEN_BY_HAND, ids=_name)
def test_commands_and_files_that_are_named_exist(path):
    text = path.read_text(encoding="utf-8")
    for module in re.findall(r"python -m ((?:drnet_tf|export|benchmarks)[\w.]*\w)", text):
        place = ROOT / module.replace(".", "/")
        assert place.with_suffix(".py").is_file() or (place / "__main__.py").is_file(), module
    for name in re.findall(r"`((?:drnet_tf|export|benchmarks|configs|docs|tests)/[^`*\s]*)`", text):
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize(
    "path",
    [
        *sorted(ROOT.glob("configs/*.flags")),
        *(ROOT / path for path in source_tree.python_files(*source_tree.PACKAGES)),
    ],
    ids=_name,
)
def test_files_that_sources_name_exist(path):
    folders = "|".join((*source_tree.PACKAGES, "configs", "docs"))
    named = rf"(?<![\w/.])((?:{folders})/[\w/]+\.(?:py|md|flags|csv|c|json))\b"
    for name in re.findall(named, path.read_text(encoding="utf-8")):
        assert "NAME." in name or (ROOT / name).exists(), name
