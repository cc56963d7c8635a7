"""Gives the paper's equations the paper's numbers, wherever they stand in the book.

`eq-11` is the paper's Eq. 11, `eq-b3-1` is numbered B3.1, the first equation of the
book's own in chapter 3 of the derivation, and `eq-e1-1` E1.1, likewise in the evidence.
Sphinx would count them page by page.
"""

import re

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

LABEL = re.compile(r"eq-(\d+|[be]\d+-\d+)")

logger = logging.getLogger(__name__)


def number_equations(app: Sphinx, doctree: nodes.document) -> None:
    """Set every labelled equation's number from its label."""
    equations = app.env.get_domain("math").equations
    for node in doctree.findall(nodes.math_block):
        label = node.get("label")
        if label is None:
            continue
        match = LABEL.fullmatch(label)
        if match is None:
            logger.warning(
                "equation label %s must be eq-N (the paper's N), eq-bC-N or eq-eC-N",
                label,
                location=node,
            )
            continue
        number = match[1].replace("-", ".").upper()
        node["number"] = number
        equations[label] = (node["docname"], number)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("doctree-read", number_equations)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
