"""Lets autodoc read the package's docstrings, whose markup is Markdown.

They are written to be read in a terminal and in an editor: `code` in single backticks,
mathematics between dollars, links as [text](address). Autodoc expects reStructuredText.
"""

import re
from typing import Any

from sphinx.application import Sphinx


def to_restructured_text(text: str) -> str:
    """Return a docstring with the three kinds of markup translated."""
    parts = re.split(r"(\$\$.+?\$\$|`[^`]+`|\$[^$]+\$)", text, flags=re.DOTALL)
    for index in range(1, len(parts), 2):
        part = parts[index]
        if part.startswith("$$"):
            formula = " ".join(part.strip("$").split())
            parts[index] = f".. math:: {formula}\n"
        elif part.startswith("$"):
            parts[index] = f":math:`{' '.join(part.strip('$').split())}`"
        else:
            parts[index] = f"`{part}`"
    link = re.compile(r"\[([^\]]+)\]\((https?://[^)]+)\)", re.DOTALL)
    return link.sub(
        lambda match: f"`{' '.join(match[1].split())} <{match[2]}>`__", "".join(parts)
    )


def keep_sentences(what: str, lines: list[str]) -> None:
    """Hide the colons that napoleon would take for the end of a type.

    It does so in the first line of an attribute and of what is returned.
    """
    firsts = {i + 1 for i, line in enumerate(lines[:-1]) if line.strip() == "Returns:"}
    if what in ("attribute", "data", "property") and lines:
        firsts.add(0)
    for i in firsts:
        lines[i] = re.sub(r":(?= |$)", " \u2013", lines[i], count=1)


def process(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    lines[:] = to_restructured_text("\n".join(lines)).splitlines()
    keep_sentences(what, lines)


def setup(app: Sphinx) -> dict[str, bool]:
    app.setup_extension("sphinx.ext.autodoc")
    # Before napoleon, which reads the sections.
    app.connect("autodoc-process-docstring", process, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
