"""`gravity.evidence.ledger`: the list's completeness, and what is computed."""

import re
from collections import Counter
from pathlib import Path

import pytest

from gravity.evidence import ledger
from gravity.evidence.claims import PAIRS, pair_title
from gravity.evidence.judgement import judge_authors, judge_ours
from gravity.evidence.ledger import LEDGER
from gravity.evidence.verdicts import Answer
from gravity.experiments.runs import METRICS

ROOT = Path(__file__).resolve().parents[2]

ENTRIES = [entry for entries in LEDGER.values() for entry in entries]
COMPUTED = [entry for entry in ENTRIES if entry.is_computed]


def the(section, words):
    """The one entry of a section whose text has these words."""
    (found,) = (e for e in ENTRIES if e.section == section and words in e.text)
    return found


def test_every_section_with_claims_is_covered():
    sections = Counter(entry.section for entry in ENTRIES)
    results = [f"4.{dataset}.{depth}" for dataset in range(1, 6) for depth in (1, 2)]
    theory = ["2.1", "2.2", "2.2.1", "2.3", "2.4"]
    assert set(sections) == {"Abstract", *theory, *results, "5"}
    assert all(sections[section] >= 3 for section in results)
    assert len(ENTRIES) >= 60
    assert len({entry.text + entry.section for entry in ENTRIES}) == len(ENTRIES)


def test_entries_of_a_figure_read_its_pair():
    for pair in PAIRS:
        for entry in LEDGER[pair_title(pair)]:
            assert entry.section == ledger.section_of(pair)
            assert any(key[:2] == pair for key in entry.needs)
            assert {key[0] for key in entry.needs} == {pair[0]}


def test_links_lead_to_labels_that_the_book_has():
    sources = "".join(
        path.read_text() for path in (ROOT / "notebooks").rglob("*.ipynb")
    )
    labels = set(re.findall(r'"name": "(fig-[\w-]+)"', sources))
    labels |= set(re.findall(r"\$\$ \((eq-[\w-]+)\)", sources))
    assert {entry.link for entry in ENTRIES} <= labels


@pytest.mark.parametrize("entry", COMPUTED, ids=lambda entry: entry.text[:40])
def test_computations_need_no_runs(entry):
    verdict = entry.decide({})
    assert verdict == judge_authors(entry, {})
    assert judge_ours(entry, []) is None
    odd = "The first update weighs initial velocity and gradient alike."
    assert verdict.answer == (
        Answer.CANT_TELL if entry.text == odd else Answer.SUPPORTED
    )


@pytest.mark.parametrize(
    ("section", "words", "numbers"),
    [
        # 1 / (1 + 0.001²)
        ("2.1", "small gradients", ["0.999999 of"]),
        # g with 1 / (1 + (g/m)²) = 0.9 is m/3; l m / 2 with l = 0.1.
        ("2.2", "larger m", ["0.417 to 0.667", "0.0625 to 0.1"]),
        # 1 / (1 + M⁴)
        ("2.3", "limits the steps", ["is 1, 0.5, 0.0001, 1e-08 of"]),
        ("2.3", "tangent", ["0.333333 and 0.333333"]),
        # -1 / ln 0.9 and -1 / ln 0.99
        ("2.4", "goes over about", ["9.5 updates", "99.5 updates"]),
        # (0.9 t + 1) / (t + 2) > 0.89 from t = 79 on; Table 2's last row is t = 15.
        ("2.4", "tends to", ["starts at 0.5", "0.89 at t = 79 and"]),
        (
            "2.4",
            "averages over all",
            ["17 values has a weight of 0.05882; 1/17 is 0.05882"],
        ),
        # 1 - 0.9ⁿ ≥ 0.9 from n = 22 on.
        ("2.4", "removes the delay", ["after 22 updates", "after 6 with"]),
        # Eq. 26 at t = 0 and t = 1: 1/2 and 1.9/3.
        ("2.4", "weighs initial velocity", ["0.500", "0.633"]),
        ("2.4", "sets the size", ["68.3 %", "0.005 = α/2", "1.92 α"]),
    ],
)
def test_computations_have_the_numbers_worked_out_by_hand(section, words, numbers):
    evidence = the(section, words).decide({}).evidence
    for number in numbers:
        assert number in evidence


def test_delay_is_that_of_a_plain_loop():
    V, t = 0.0, 0
    while V < 0.9:
        share = (0.9 * t + 1) / (t + 2)
        V, t = share * V + 1 - share, t + 1
    assert t == 6


def test_not_clearly_calmer_denies_clearly_calmer():
    def jumping(size):
        values = [size * (epoch % 2) for epoch in range(41)]
        return {metric: values for metric in METRICS}

    rule = ledger._not_clearly_calmer("val_loss")
    for deep, answer in [
        (0.5, Answer.NOT_SUPPORTED),
        (0.9, Answer.SUPPORTED),
        (2.0, Answer.SUPPORTED),
    ]:
        found = rule({"vgg16": jumping(1.0), "vgg19": jumping(deep)})
        assert found.answer == answer
    short = {metric: [1.0] for metric in METRICS}
    assert rule({"vgg16": short, "vgg19": short}).answer == Answer.CANT_TELL
