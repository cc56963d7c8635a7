"""What the book keeps on one line."""

from pathlib import Path

import pytest
from docutils import nodes, utils

ROOT = Path(__file__).resolve().parents[2]

import line_breaks  # noqa: E402


def paragraph(*children):
    document = utils.new_document("page")
    document += nodes.paragraph("", "", *children)
    return document


def kept(document):
    return [
        each.astext()
        for each in document.findall(nodes.inline)
        if line_breaks.CLASS in each["classes"]
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("leaves 60 % of it", ["60 %"]),
        ("from 0.5 % to 1,200 %.", ["0.5 %", "1,200 %"]),
        ("agree to 1e-14, as", ["1e-14"]),
        ("by (-1e-07, 3e-05)", ["-1e-07", "3e-05"]),
        ("see Eq. 11. Then Eq. B3.5 and Fig. 2.", ["Eq. 11", "Eq. B3.5", "Fig. 2"]),
        ("the paper's Table 5: five", ["Table 5"]),
        ("by Algorithm 1, in 170 MB or 10 kB", ["Algorithm 1", "170 MB", "10 kB"]),
        ("11 h, 44 min, 2.6 GB, 22.8 ms", ["11 h", "44 min", "2.6 GB", "22.8 ms"]),
        ("3 binary digits, 2 hours and 5 seconds", []),
        ("100 updates, one per cent, the end", []),
    ],
)
def test_numbers_stay_with_what_they_count(text, expected):
    document = paragraph(nodes.Text(text))
    line_breaks.keep_pairs(document)
    assert kept(document) == expected
    assert document.astext() == text


def test_code_and_formulas_are_left_alone():
    document = paragraph(nodes.literal("", "7 % 2"), nodes.math("", "60 %"))
    document += nodes.literal_block("", "5 % 3")
    line_breaks.keep_pairs(document)
    assert kept(document) == []


@pytest.mark.parametrize(
    ("before", "behind", "expected"),
    [
        ("drawn as ", ". Derive", ["x."]),
        ("(", "), and", ["(x),"]),
        ("the size (", " or so)", ["(x"]),
        ("for ", " and", []),
        ("", "", []),
    ],
)
def test_formula_stays_with_its_punctuation(before, behind, expected):
    texts = [nodes.Text(before), nodes.math("", "x"), nodes.Text(behind)]
    document = paragraph(*(each for each in texts if each.astext()))
    line_breaks.keep_formulas(document)
    assert kept(document) == expected
    assert document.astext() == f"{before}x{behind}"


def test_two_formulas_in_one_bracket():
    document = paragraph(
        nodes.Text("at ("),
        nodes.math("", "x"),
        nodes.Text(", "),
        nodes.math("", "y"),
        nodes.Text(")."),
    )
    line_breaks.keep_formulas(document)
    assert kept(document) == ["(x,", "y)."]
