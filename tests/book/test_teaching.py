"""Exercises, self-checks, and the map of what each chapter needs."""

import ast
import itertools
import re
import shutil
from graphlib import TopologicalSorter
from pathlib import Path
from xml.etree import ElementTree

import nbformat
import pytest

from gravity.book import contents

ROOT = Path(__file__).resolve().parents[2]

import chapter_map  # noqa: E402

DERIVATION = sorted((ROOT / "notebooks/derivation").glob("*.ipynb"))
SVG = "{http://www.w3.org/2000/svg}"


def exercises(path):
    """The cells from the heading of the exercises to that of the self-check."""
    cells = nbformat.read(path, as_version=4).cells
    (first,) = (i for i, cell in enumerate(cells) if "## Exercises" in cell.source)
    (last,) = (i for i, cell in enumerate(cells) if "## Check yourself" in cell.source)
    return cells[first:last], cells[last:]


@pytest.mark.parametrize("path", DERIVATION, ids=lambda path: path.stem)
def test_every_exercise_has_a_folded_solution_that_asserts_its_result(path):
    asked, _ = exercises(path)
    numbers = [
        int(number)
        for cell in asked
        if cell.cell_type == "markdown"
        for number in re.findall(r"^\*\*(\d)\.", cell.source, re.MULTILINE)
    ]
    assert 2 <= len(numbers) <= 4
    assert numbers == list(range(1, len(numbers) + 1))
    # A question, its solution, a question, its solution.
    assert [cell.cell_type for cell in asked] == ["markdown", "code"] * len(numbers)
    for cell in asked[1::2]:
        # The book folds it by its tag, JupyterLab by `source_hidden`, Colab as a form.
        assert cell.metadata["tags"] == ["hide-cell"]
        assert cell.metadata["jupyter"] == {"source_hidden": True}
        assert cell.metadata["cellView"] == "form"
        assert cell.source.startswith("# @title Solution\n")
        checks = [
            node
            for node in ast.walk(ast.parse(cell.source))
            if isinstance(node, ast.Assert)
            or (isinstance(node, ast.Attribute) and node.attr == "assert_allclose")
        ]
        assert checks, cell.source


@pytest.mark.parametrize("path", DERIVATION, ids=lambda path: path.stem)
def test_every_chapter_ends_with_a_short_self_check(path):
    _, (check, *rest) = exercises(path)
    assert 3 <= len(re.findall(r"^- ", check.source, re.MULTILINE)) <= 6
    assert [cell.cell_type for cell in rest] == ["code"]
    assert "colophon" in rest[0].source


@pytest.fixture(scope="module")
def chapters():
    return chapter_map.read(ROOT)


def test_every_chapter_is_in_the_map(chapters):
    notebooks = [
        name
        for _, name in contents.pages(ROOT / "_toc.yml")
        if name.startswith("notebooks/")
    ]
    pairs = [name for name in notebooks if "_vgg" in name]
    assert len(pairs) == 12
    assert {*chapters, *pairs} >= set(notebooks)
    assert [name for name in pairs if name in chapters] == pairs[:1]
    for chapter in chapters.values():
        assert chapter.title
    assert all(chapters[name].sees for name in chapters if name in notebooks)


def test_map_is_acyclic_and_in_reading_order(chapters):
    needs = {name: chapter.needs for name, chapter in chapters.items()}
    assert set(TopologicalSorter(needs).static_order()) == set(chapters)
    order = list(chapters)
    for name, chapter in chapters.items():
        assert all(order.index(need) < order.index(name) for need in chapter.needs)


def test_derivation_is_one_chain_from_the_plane_to_the_algorithm(chapters):
    chain = (
        "inclined_plane",
        "learning_rate",
        "max_step_gradient",
        "moving_average",
        "initial_velocity",
        "algorithm",
    )
    direct = chapter_map.direct(chapters)
    assert direct[f"notebooks/derivation/{chain[0]}"] == []
    for before, after in itertools.pairwise(chain):
        assert direct[f"notebooks/derivation/{after}"] == [
            f"notebooks/derivation/{before}"
        ]


def test_drawing_has_each_chapter_once_as_a_link_and_no_boxes_overlap(chapters):
    drawn = ElementTree.fromstring(chapter_map.drawing(chapters, "{}.html".format))
    links = list(drawn.iter(f"{SVG}a"))
    assert [link.get("href") for link in links] == [f"{name}.html" for name in chapters]
    words = [" ".join("".join(link.itertext()).split()) for link in links]
    assert words == [chapter.title for chapter in chapters.values()]
    corners = {
        (float(box.get("x")), float(box.get("y"))) for box in drawn.iter(f"{SVG}rect")
    }
    assert len(corners) == len(chapters)
    arrows = [path for path in drawn.iter(f"{SVG}path") if path.get("marker-end")]
    assert len(arrows) == sum(map(len, chapter_map.direct(chapters).values()))
    size = chapter_map.WIDTH, chapter_map.HEIGHT
    for path in arrows:
        steps = [point.split() for point in path.get("d")[1:].split("L")]
        ends = [tuple(map(float, point)) for point in steps]
        for (x, y), (to_x, to_y) in itertools.pairwise(ends):
            # Points on the way, short of the ends on two boxes' edges.
            for share in range(1, 100):
                at_x, at_y = x + share / 100 * (to_x - x), y + share / 100 * (to_y - y)
                assert not any(
                    left < at_x < left + size[0] and top < at_y < top + size[1]
                    for left, top in corners
                ), path.get("d")


@pytest.fixture
def copied(tmp_path):
    """The sources of the book, to be changed."""
    for name in ("book", "notebooks"):
        ignored = shutil.ignore_patterns("results")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    shutil.copy(ROOT / "_toc.yml", tmp_path)
    return tmp_path


def test_map_follows_the_chapters(copied):
    path = copied / "notebooks/benchmark/overview.ipynb"
    text = path.read_text()
    assert "**You need** nothing but" in text
    path.write_text(text.replace("nothing but", "[Eq. 11](#eq-11) and"))
    needs = chapter_map.read(copied)["notebooks/benchmark/overview"].needs
    assert needs == ("notebooks/derivation/inclined_plane",)


def test_circle_is_refused(copied):
    path = copied / "notebooks/derivation/inclined_plane.ipynb"
    text = path.read_text()
    path.write_text(text.replace("**You need** derivatives", "**You need** [](#eq-18)"))
    with pytest.raises(ValueError, match=r"plane needs .*max_step.*comes after"):
        chapter_map.read(copied)
