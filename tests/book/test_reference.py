"""The reference page, and the docstrings' way into it."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

from docstrings import keep_sentences, to_restructured_text  # noqa: E402


def test_every_public_module_is_in_the_reference():
    page = (ROOT / "book/reference.md").read_text(encoding="utf-8")
    shown = re.findall(r"\.\. auto(?:module|class):: ([a-z_.]+[a-z_])", page)
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "gravity").rglob("[!_]*.py")
    ]
    assert sorted(shown) == sorted(modules)


def test_markdown_becomes_restructured_text():
    text = "See `x`, $a_1$ and [the\npaper](https://e.org/1).\n\n$$a\n= 1$$\n\nAfter."
    assert to_restructured_text(text) == (
        "See ``x``, :math:`a_1` and `the paper <https://e.org/1>`__.\n\n"
        ".. math:: a = 1\n\n\nAfter."
    )


def test_dollars_and_brackets_in_code_stay():
    text = "`cost $5`, `a[0](1)` and 3 $ more"
    assert to_restructured_text(text) == "``cost $5``, ``a[0](1)`` and 3 $ more"


def test_what_stands_before_a_colon_is_no_type():
    lines = ["Draw it: at once.", "", "Returns:", "    The figure: a panel: two."]
    keep_sentences("function", lines)
    assert lines[0] == "Draw it: at once."
    assert lines[3] == "    The figure \u2013 a panel: two."
    lines = ["The name: readable parts.", "", "One: two."]
    keep_sentences("property", lines)
    assert lines == ["The name \u2013 readable parts.", "", "One: two."]
