"""The directive `where-is`: `book/equations.yaml` as a table with links."""

import os
from collections.abc import Iterator
from pathlib import Path

import yaml
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

TITLES = {"eq": "Eq.", "table": "Table", "fig": "Fig.", "algorithm": "Algorithm"}


def between_words(name: str) -> Iterator[nodes.Node]:
    """Yield a long name in parts between which a line may break."""
    first, *others = name.split("_")
    yield nodes.Text(first)
    for word in others:
        yield nodes.raw("", "<wbr>", format="html")
        yield nodes.Text(f"_{word}")


class WhereIs(SphinxDirective):
    """Renders the list of the paper's items; the argument is its path."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        path, absolute = self.env.relfn2path(self.arguments[0])
        self.env.note_dependency(path)
        items = yaml.safe_load(Path(absolute).read_text(encoding="utf-8"))
        lines = ["| In the paper | What it is | Page | Tests |", "|---|---|---|---|"]
        lines += [self.row(label, **item) for label, item in items.items()]
        table = nodes.container(classes=["gravity-where"])
        self.state.nested_parse(StringList(lines, path), self.content_offset, table)
        for name in table.findall(nodes.literal):
            parts = list(between_words(name.astext()))
            name.clear()
            name.extend(parts)
        return [table]

    def row(self, label: str, what: str, page: str, tests: list[str]) -> str:
        kind, _, number = label.partition("-")
        here = os.path.dirname(self.env.docname)
        file = os.path.relpath(page, here)
        # A heading can be referred to only together with its page.
        source = Path(self.env.srcdir, page)
        named = source.exists() and f'"name": "{label}"' in source.read_text("utf-8")
        target = f"#{label}" if kind == "eq" or named else f"{file}#{label}"
        names = "<br>".join(f"`{test.partition('::')[2]}`" for test in tests)
        return (
            f"| [{TITLES[kind]} {number}]({target}) | {what} | [](<{file}>) | {names} |"
        )


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("where-is", WhereIs)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
