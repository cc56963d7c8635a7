"""The directive `chapter-map`: which chapter needs which, drawn from their own words.

Every chapter opens with a paragraph **You need**. A link in it to another chapter, or
to an equation, is an arrow of the map, so that the map follows the chapters.
"""

import html
import json
import os
import re
import textwrap
from collections.abc import Callable
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import yaml
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from gravity.book import contents

LINK = re.compile(r"\[([^\]]*)\]\(<?([^)>]*)>?\)")
EQUATION = re.compile(r"\$\$\s*\((eq-[\w-]+)\)\s*$", re.MULTILINE)
PAIRS = "book/pairs.yaml"

WIDTH, HEIGHT, GAP_X, GAP_Y = 124, 60, 12, 40


class Chapter(NamedTuple):
    """A page that says what it needs."""

    title: str
    sees: str | None
    needs: tuple[str, ...]


def read(root: Path) -> dict[str, Chapter]:
    """Return the chapters of a book by their names, in reading order.

    The pair chapters come from one template and are one chapter here, the first.

    Args:
        root: the folder with `_toc.yml`.

    Raises:
        ValueError: a chapter needs one that needs it in turn, or one that isn't before
            it in the table of contents.
    """
    names = [name for _, name in contents.pages(root / "_toc.yml")]
    pairs = yaml.safe_load((root / PAIRS).read_text("utf-8"))
    first, *others = (name for name in names if os.path.basename(name) in pairs)
    texts = {name: _prose(root, name) for name in names if name not in others}
    homes = {
        label: name for name, text in texts.items() for label in EQUATION.findall(text)
    }
    chapters = {}
    for name, text in texts.items():
        needs = _paragraph(text, "You need")
        if needs is None:
            continue
        targets = [target for _, target in LINK.findall(needs)]
        title = "The pairs" if name == first else _title(text)
        chapters[name] = Chapter(
            title,
            _paragraph(text, "You will see"),
            tuple({_page(name, target, homes) for target in targets} - {name}),
        )
    return {
        name: chapter._replace(needs=_earlier(name, chapter, chapters))
        for name, chapter in chapters.items()
    }


def _prose(root: Path, name: str) -> str:
    notebook = root / f"{name}.ipynb"
    if not notebook.exists():
        return (root / f"{name}.md").read_text("utf-8")
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    return "\n\n".join(
        "".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"
    )


def _title(text: str) -> str:
    return re.search(r"^# (.+)$", text, re.MULTILINE)[1]


def _paragraph(text: str, heading: str) -> str | None:
    match = re.search(rf"^\*\*{heading}\*\* (.+)$", text, re.MULTILINE)
    return match and match[1]


def _page(name: str, target: str, homes: dict[str, str]) -> str | None:
    """The page that a link leads to, if it is one of the book's."""
    if target.startswith("#"):
        return homes.get(target[1:])
    file = os.path.normpath(os.path.join(os.path.dirname(name), target))
    return os.path.splitext(file)[0]


def _earlier(
    name: str, chapter: Chapter, chapters: dict[str, Chapter]
) -> tuple[str, ...]:
    order = list(chapters)
    needs = tuple(each for each in order if each in chapter.needs)
    late = [each for each in needs if order.index(each) > order.index(name)]
    if late:
        raise ValueError(f"{name} needs {', '.join(late)}, which comes after it")
    return needs


def direct(chapters: dict[str, Chapter]) -> dict[str, list[str]]:
    """Return what each chapter needs at first hand: not what those need anyway."""
    behind: dict[str, set[str]] = {}
    sorter = TopologicalSorter({name: each.needs for name, each in chapters.items()})
    for name in sorter.static_order():
        needs = chapters[name].needs
        behind[name] = {*needs, *(x for each in needs for x in behind[each])}
    return {
        name: [
            need
            for need in each.needs
            if not any(need in behind[other] for other in each.needs)
        ]
        for name, each in chapters.items()
    }


def places(chapters: dict[str, Chapter]) -> dict[str, tuple[int, int]]:
    """Return each chapter's row and column.

    The row is the longest way to it; the column is that of what it needs, or the next
    that is free.
    """
    arrows, found = direct(chapters), {}
    for name in chapters:
        above = [found[need] for need in arrows[name]]
        row = max((row for row, _ in above), default=-1) + 1
        wanted = above[0][1] if above else 0
        taken = {column for other, column in found.values() if other == row}
        free = (column for column in range(len(chapters)) if column not in taken)
        found[name] = row, min(free, key=lambda column: abs(column - wanted))
    return found


def arrow(start: tuple[int, int], end: tuple[int, int]) -> list[tuple[float, float]]:
    """Return the corners of an arrow between two boxes, whose corners are given.

    It goes straight to the next row. To a later one it goes down between the columns,
    so that it passes no box that it doesn't mean.
    """
    (from_x, from_y), (x, y) = start, end
    corners = [(from_x + WIDTH / 2, from_y + HEIGHT)]
    if y - from_y > HEIGHT + GAP_Y:
        lane = (
            from_x - GAP_X / 2 if from_x and x <= from_x else from_x + WIDTH + GAP_X / 2
        )
        corners += [(lane, from_y + HEIGHT + GAP_Y / 2), (lane, y - GAP_Y)]
    return [*corners, (x + WIDTH / 2, y - 3)]


def drawing(chapters: dict[str, Chapter], link: Callable[[str], str]) -> str:
    """Return the map as an SVG whose boxes are links.

    Args:
        chapters: what `read` returned.
        link: gives a page's address by its name.
    """
    spots = {
        name: (column * (WIDTH + GAP_X), row * (HEIGHT + GAP_Y))
        for name, (row, column) in places(chapters).items()
    }
    parts = []
    for name, needs in direct(chapters).items():
        x, y = spots[name]
        for need in needs:
            way = "L".join(
                f"{at_x:g} {at_y:g}" for at_x, at_y in arrow(spots[need], (x, y))
            )
            parts.append(f'<path d="M{way}" marker-end="url(#gravity-arrow)"/>')
    for name, (x, y) in spots.items():
        lines = textwrap.wrap(chapters[name].title, 14)
        height = 17 * (len(lines) - 1)
        words = "".join(
            f'<tspan x="{x + WIDTH / 2:g}" '
            f'y="{y + HEIGHT / 2 + 5 - height / 2 + 17 * i:g}">{html.escape(line)} '
            "</tspan>"
            for i, line in enumerate(lines)
        )
        parts.append(
            f'<a href="{html.escape(link(name))}"><rect x="{x}" y="{y}" rx="6" '
            f'width="{WIDTH}" height="{HEIGHT}"/><text>{words}</text></a>'
        )
    wide = max(x for x, _ in spots.values()) + WIDTH
    high = max(y for _, y in spots.values()) + HEIGHT
    return (
        '<div class="gravity-map"><svg xmlns="http://www.w3.org/2000/svg" '
        f'role="group" aria-label="Map of the chapters" '
        f'viewBox="-2 -2 {wide + 4} {high + 4}" '
        # Smaller, its letters couldn't be read: a narrow page scrolls it.
        f'style="max-width: {wide + 4}px; min-width: {0.9 * (wide + 4):.0f}px">'
        '<defs><marker id="gravity-arrow" viewBox="0 0 8 8" refX="6" refY="4" '
        'markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0L8 4L0 8z"/></marker></defs>'
        f"{''.join(parts)}</svg></div>"
    )


class ChapterMap(SphinxDirective):
    """Renders the map, and under it what each chapter shows and needs."""

    def run(self) -> list[nodes.Node]:
        root = Path(self.env.srcdir)
        chapters = read(root)
        for name in chapters:
            file = next(root.glob(f"{name}.*"))
            self.env.note_dependency(str(file))
        here = self.env.docname
        uri = self.env.app.builder.get_relative_uri
        svg = drawing(chapters, lambda name: uri(here, name))
        listed = nodes.container()
        lines = [line for name in chapters for line in self.entry(name, chapters)]
        self.state.nested_parse(StringList(lines, here), self.content_offset, listed)
        return [nodes.raw("", svg, format="html"), listed]

    def entry(self, name: str, chapters: dict[str, Chapter]) -> list[str]:
        """A chapter as an item of a definition list."""
        sees = LINK.sub(r"\1", chapters[name].sees or "")
        needs = ", ".join(map(self.link, chapters[name].needs)) or "no other chapter"
        title = chapters[name].title
        head = f"[{title}](<{self.file(name)}>)"
        shows = f"You will see {sees} " if sees else ""
        return [head, f": {shows}It needs {needs}.", ""]

    def file(self, name: str) -> str:
        here = os.path.dirname(self.env.docname)
        source = next(Path(self.env.srcdir).glob(f"{name}.*"))
        return os.path.relpath(name, here) + source.suffix

    def link(self, name: str) -> str:
        return f"[](<{self.file(name)}>)"


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("chapter-map", ChapterMap)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
