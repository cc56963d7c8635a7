"""`gravity.evidence.first_epochs`: the registered rule, applied as it is registered."""

import math
from pathlib import Path

import pytest
import yaml

from gravity.evidence import first_epochs, published
from gravity.evidence.first_epochs import MISLABELLED, Labels, Pair
from gravity.experiments.experiment import paper_experiment
from gravity.experiments.paper import PAPER_LEARNING_RATES, PAPER_OPTIMIZERS
from gravity.experiments.runs import METRICS, RunStore

ROOT = Path(__file__).resolve().parents[2]
REGISTERED = yaml.safe_load((ROOT / "book/registered.yaml").read_text())
KEY = ("mnist", "vgg16", "adam")


def test_margins_are_the_registered_ones():
    assert REGISTERED["first_epochs"]["margins"] == {
        "loss_share": first_epochs.LOSS_SHARE,
        "accuracy_ratio": first_epochs.ACCURACY_RATIO,
    }
    assert REGISTERED["output_units"]["margins"] == {
        "loss_ratio": first_epochs.LOSS_RATIO
    }


def test_the_runs_are_the_papers_but_for_the_number_of_epochs():
    experiments = first_epochs.experiments()
    assert len({each.run_id for each in experiments}) == 30
    for each in experiments:
        paper = paper_experiment(each.dataset, each.architecture, each.optimizer)
        assert each.describe() == paper.describe() | {"epochs": 1}
        assert each.scale == "begun"
    coarse, (fine,) = first_epochs.labels_experiments()
    assert [(each.seed, each.epochs) for each in coarse] == [(0, 3), (1, 3)]
    assert fine in experiments


@pytest.mark.parametrize(
    ("loss", "accuracy", "agrees"),
    [
        ((0.5, 0.5), (0.5, 0.5), True),
        ((0.5, 0.59), (0.5, 0.5), True),
        ((0.59, 0.5), (0.5, 0.5), True),
        ((0.5, 0.61), (0.5, 0.5), False),
        ((0.61, 0.5), (0.5, 0.5), False),
        ((0.5, 0.5), (0.10, 0.149), True),
        ((0.5, 0.5), (0.149, 0.10), True),
        ((0.5, 0.5), (0.10, 0.151), False),
        ((0.5, 0.5), (0.151, 0.10), False),
        ((0.9, 0.5), (0.9, 0.1), False),
    ],
)
def test_a_run_agrees_within_both_margins(loss, accuracy, agrees):
    assert Pair(KEY, "adam", loss, accuracy).agrees is agrees


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (10, "agree"),
        (8, "agree"),
        (7, "agree in part"),
        (6, "agree in part"),
        (5, "disagree"),
        (0, "disagree"),
    ],
)
def test_all_together_are_judged_by_their_share(number, expected):
    good, bad = (Pair(KEY, "adam", (0.5, x), (0.5, 0.5)) for x in (0.5, 0.9))
    # It is shown, and counts for neither side.
    odd = Pair(MISLABELLED, "gravity", (0.5, 0.9), (0.5, 0.5))
    found = [good] * number + [bad] * (10 - number) + [odd] * 5
    assert first_epochs.agreeing(found) == (number, 10)
    assert first_epochs.verdict(found) == expected
    with pytest.raises(ValueError, match="at least one pair"):
        first_epochs.verdict([odd])


def stored(tmp_path, factor=1.0):
    """Our runs with the authors' own first epochs, their losses times a factor."""
    store, authors = RunStore(tmp_path), published.load_all()
    runs = []
    for each in first_epochs.experiments():
        theirs = authors[each.dataset, each.architecture, each.optimizer].history
        history = {metric: [theirs[metric][0]] for metric in METRICS}
        history["loss"] = [factor * history["loss"][0]]
        runs.append(store.save(each, history, {}))
    return runs, authors


def test_the_authors_own_first_epochs_agree_with_themselves(tmp_path):
    runs, authors = stored(tmp_path)
    found = first_epochs.pairs(runs, authors)
    assert first_epochs.agreeing(found) == (29, 29)
    for pair in found:
        assert pair.loss[0] == pytest.approx(pair.loss[1])
        assert pair.other == pair.key[2]
    (mnist,) = (pair for pair in found if pair.key == KEY)
    assert mnist.loss[1] == pytest.approx(0.3997877240180969 / math.log(10))
    assert mnist.accuracy[1] == pytest.approx(0.9833999872207642)


def test_the_control_pairs_each_run_with_the_other_optimizers(tmp_path):
    runs, authors = stored(tmp_path)
    found = first_epochs.wrong_pairs(runs, authors)
    # Two others each; the mislabelled run is nobody's partner.
    assert len(found) == 60 - 2
    assert {(pair.key[2], pair.other) for pair in found} == {
        (one, other)
        for one in PAPER_OPTIMIZERS
        for other in PAPER_OPTIMIZERS
        if one != other
    }
    assert {pair.key[:2] for pair in found} == set(PAPER_LEARNING_RATES)


@pytest.mark.parametrize(
    ("published_losses", "coarse", "closely"),
    [
        ((2.9, 2.6, 2.4), True, True),
        ((3.2, 2.7, 2.5), True, True),
        ((2.5, 2.6, 2.4), True, False),
        ((2.9, 2.6, 3.0), True, False),
        ((4.2, 3.9, 3.5), False, False),
    ],
)
def test_labels_are_told_by_the_first_losses(published_losses, coarse, closely):
    found = Labels(published_losses, [(2.8, 3.0), (2.5, 2.7), (2.3, 2.5)], 4.4)
    assert (found.follows_coarse, found.closely) == (coarse, closely)
    near, far = Labels((2.0,), [(1.0, 4.0)], 8.0).ratios
    assert (near, far) == (pytest.approx(1.0), pytest.approx(4.0))


def test_labels_take_the_range_of_our_runs(tmp_path):
    store, authors = RunStore(tmp_path), published.load_all()
    coarse, (fine,) = first_epochs.labels_experiments()
    rest = {metric: [0.5] * 3 for metric in METRICS}
    ours = [
        store.save(each, rest | {"loss": [3.0 - n, 2.0 + n, 1.0]}, {})
        for n, each in enumerate(coarse)
    ]
    rest = {metric: [0.5] for metric in METRICS}
    one = store.save(fine, rest | {"loss": [4.5]}, {})
    found = first_epochs.labels(ours, one, authors[MISLABELLED])
    assert found.coarse == [(2.0, 3.0), (2.0, 3.0), (1.0, 1.0)]
    assert found.fine == 4.5
    assert found.published == pytest.approx([2.868, 2.570, 2.380], abs=5e-4)
