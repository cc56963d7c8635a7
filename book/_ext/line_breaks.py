"""Keeps together what a line must not part.

A browser breaks a line after every formula, also where a full stop follows, and between
a number and its per cent sign or unit. This gives such pairs an element of their own,
which the style sheet keeps on one line. The text stays as it is, to be searched and
copied.
"""

import re

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

CLASS = "gravity-together"
PAIR = re.compile(
    r"[\d.,]*\d (?:%|(?:[kMG]?B|min|h|m?s)\b)|[-\u2212]?\d[\d.]*e[-+]\d+|"
    r"(?:Eq|Fig)\. [A-Z]?\d+(?:\.\d+)?|(?:Table|Algorithm) \d+"
)
BEHIND = re.compile(r"[.,;:!?)\]\u2019\u201d]+")


def keep_formulas(document: nodes.Element) -> None:
    """Keep each formula with the bracket before and the punctuation behind it."""
    for formula in list(document.findall(nodes.math)):
        parent = formula.parent
        place = parent.index(formula)
        before = parent[place - 1] if place else None
        behind = parent[place + 1] if place + 1 < len(parent) else None
        group = nodes.inline(classes=[CLASS])
        if isinstance(before, nodes.Text) and before.endswith("("):
            parent.replace(before, nodes.Text(before[:-1]))
            group += nodes.Text("(")
        match = isinstance(behind, nodes.Text) and BEHIND.match(behind)
        if match:
            parent.replace(behind, nodes.Text(behind[match.end() :]))
        if match or group.children:
            parent.replace(formula, group)
            group += formula
            if match:
                group += nodes.Text(match[0])


def keep_pairs(document: nodes.Element) -> None:
    """Keep numbers and their units or names on one line."""
    for text in list(document.findall(nodes.Text)):
        parent = text.parent
        if isinstance(
            parent, nodes.literal | nodes.FixedTextElement | nodes.math | nodes.raw
        ):
            continue
        parts: list[nodes.Node] = []
        end = 0
        for match in PAIR.finditer(text):
            parts.append(nodes.Text(text[end : match.start()]))
            parts.append(nodes.inline("", match[0], classes=[CLASS]))
            end = match.end()
        if parts:
            parent.replace(text, [*parts, nodes.Text(text[end:])])


class LineBreaks(SphinxPostTransform):
    """Does both, once references have their texts."""

    default_priority = 500
    formats = ("html",)

    def run(self, **kwargs: object) -> None:
        keep_formulas(self.document)
        keep_pairs(self.document)


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_post_transform(LineBreaks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
