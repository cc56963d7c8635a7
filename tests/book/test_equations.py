"""`book/equations.yaml`: every item of the paper's section 2 has a page and a test."""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import nbformat
import pytest
import yaml

from gravity.book import contents

ROOT = Path(__file__).resolve().parents[2]
ITEMS = yaml.safe_load((ROOT / "book/equations.yaml").read_text(encoding="utf-8"))

EQUATION = re.compile(r"\$\$\s*\((eq-[\w-]+)\)\s*$", re.MULTILINE)
NAME = re.compile(r"^(?:\(([\w-]+)\)=|:name: ([\w-]+))\s*$", re.MULTILINE)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def prose(path):
    """A page's Markdown."""
    if path.suffix == ".md":
        return path.read_text(encoding="utf-8")
    cells = nbformat.read(path, as_version=4).cells
    return "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def labels(path):
    """What one can refer to on a page: equations, targets and named figures."""
    targets = [first or second for first, second in NAME.findall(prose(path))]
    if path.suffix == ".ipynb":
        cells = nbformat.read(path, as_version=4).cells
        figures = (cell.metadata.get("mystnb", {}).get("figure", {}) for cell in cells)
        targets += [figure["name"] for figure in figures if "name" in figure]
    return [*EQUATION.findall(prose(path)), *targets]


def headings(path):
    """The anchors that a page's headings make."""
    return [
        re.sub(r"[^\w -]", "", title.lower()).strip().replace(" ", "-")
        for title in HEADING.findall(prose(path))
    ]


PAGES = [
    path
    for _, name in contents.pages(ROOT / "_toc.yml")
    for path in ROOT.glob(f"{name}.*")
]


@pytest.fixture(scope="module")
def collected():
    """The names of the tests that pytest finds in the files that the list names."""
    tests = [test for item in ITEMS.values() for test in item["tests"]]
    paths = {test.partition("::")[0] for test in tests}
    paths = sorted(path for path in paths if (ROOT / path).is_file())
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", *paths],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return {line.partition("[")[0] for line in result.stdout.splitlines()}


def test_every_numbered_item_of_section_2_is_listed():
    assert list(ITEMS) == [
        *(f"eq-{number}" for number in range(1, 31)),
        *(f"table-{number}" for number in range(1, 3)),
        *(f"fig-{number}" for number in range(1, 10)),
        "algorithm-1",
    ]
    for label, item in ITEMS.items():
        assert set(item) == {"what", "page", "tests"}, label


@pytest.mark.parametrize("label", ITEMS)
def test_item_stands_on_its_page(label):
    path = ROOT / ITEMS[label]["page"]
    assert path.is_file()
    assert path in PAGES, "the page isn't in _toc.yml"
    assert label in labels(path) or label in headings(path)


@pytest.mark.parametrize("label", ITEMS)
def test_item_is_verified_by_tests_that_exist(label, collected):
    assert ITEMS[label]["tests"]
    for test in ITEMS[label]["tests"]:
        assert test in collected


def test_no_label_stands_twice_in_the_book():
    counted = Counter(label for path in PAGES for label in labels(path))
    assert [label for label, count in counted.items() if count > 1] == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_every_displayed_equation_has_a_label(path):
    text = re.sub(r"^```.*?^```", "", prose(path), flags=re.DOTALL | re.MULTILINE)
    assert text.count("$$") == 2 * len(EQUATION.findall(text))


def test_every_equation_is_referred_to():
    book = "\n".join(path.read_text(encoding="utf-8") for path in PAGES)
    unused = {
        label
        for path in PAGES
        for label in labels(path)
        if label.startswith("eq-") and f"(#{label})" not in book
    }
    assert unused == set()
