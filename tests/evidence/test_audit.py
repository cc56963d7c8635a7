"""`gravity.evidence.audit` on runs made for it, and on the authors' own."""

import csv
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gravity.evidence import audit, published
from gravity.evidence.audit import Check, Match
from gravity.evidence.published import Published
from gravity.experiments.runs import METRICS

ROOT = Path(__file__).resolve().parents[2]
REAL = ROOT.parent / "shared" / "published"
needs_real = pytest.mark.skipif(
    not (REAL / "summary.csv").is_file(),
    reason=f"the authors' histories as they were taken aren't there ({REAL})",
)
KEY = ("fashion_mnist", "vgg19", "rmsprop")


def run(units=10, epochs=100, declared="Fashion MNIST", **settings):
    history = {metric: [2.0] * epochs for metric in METRICS}
    return Published(
        *KEY,
        history,
        settings,
        units,
        declared,
        published.load(*KEY).path,
        published.load(*KEY).sha256,
    )


def answers(of):
    return {check.setting: check.answer for check in audit.checks(of)}


def test_a_run_as_the_paper_states_it():
    stored = {"learning_rate": 5e-5, "rho": 0.9, "momentum": 0.0, "epsilon": 1e-7}
    found = answers(run(centered=False, **stored))
    assert set(found.values()) == {Match.AGREES}
    assert set(found) == {"dataset", "epochs", "outputs", "centered", *stored}


def test_every_difference_is_found():
    found = answers(run(20, 99, "MNIST", learning_rate=2e-4, rho=0.95))
    assert found["dataset"] == found["epochs"] == found["outputs"] == Match.DIFFERS
    assert found["learning_rate"] == found["rho"] == Match.DIFFERS
    assert found["momentum"] == Match.NOT_STORED
    assert answers(run(None, declared=""))["outputs"] == Match.NOT_STORED
    assert answers(run(None, declared=""))["dataset"] == Match.NOT_STORED


@pytest.mark.parametrize(
    ("optimizer", "arguments"),
    [
        ("gravity", {"learning_rate", "alpha", "beta"}),
        ("adam", {"learning_rate", "beta_1", "beta_2", "epsilon"}),
        ("rmsprop", {"learning_rate", "rho", "momentum", "epsilon", "centered"}),
    ],
)
def test_settings_are_those_that_section_3_3_states(optimizer, arguments):
    found = audit.checks(replace(run(), optimizer=optimizer))
    assert {c.setting for c in found} == {"dataset", "epochs", "outputs", *arguments}


@pytest.mark.parametrize(
    ("stated", "stored", "answer"),
    [
        (7.5e-5, 0.0001, Match.ROUNDED),
        (2.5e-5, 0.0, Match.ROUNDED),
        (1e-7, 0.0, Match.ROUNDED),
        (0.9, 0.9001, Match.DIFFERS),
        (2.5e-4, 2e-4, Match.ROUNDED),
        (2.5e-4, 3e-4, Match.ROUNDED),
        (2.5e-4, 4e-4, Match.DIFFERS),
        (2.5e-4, 2.4e-4, Match.DIFFERS),
        (10, 20, Match.DIFFERS),
        ("mnist", 0.0, Match.DIFFERS),
    ],
)
def test_values_that_the_authors_program_rounded(stated, stored, answer):
    assert Check(KEY, "x", stated, stored).answer == answer


def test_accuracies_give_the_number_of_images_away():
    rng = np.random.default_rng(0)
    for images in (10_000, 49_920, 50_000, 60_000):
        right = rng.integers(images // 3, images, 30)
        assert audit.counted((right / images).astype(np.float32)) == images
    # In lowest terms, and with none that fits.
    assert audit.counted(np.float32([0.5, 0.25, 1.0])) == 4
    assert audit.counted(np.float32([1 / math.pi, 1 / math.e]), most=1000) is None


def test_first_loss_is_measured_in_guesses():
    one = run()
    assert audit.first_loss_share(one) == pytest.approx(2 / math.log(10))
    assert audit.first_loss_share(one, 100) == pytest.approx(2 / math.log(100))


def test_selection_gains_what_the_best_epoch_is_ahead():
    assert audit.selection_gain([0.1, 0.9, 0.7]) == pytest.approx(0.2)
    assert audit.selection_gain([0.1, 0.9]) == 0


def test_misfits_have_other_outputs_than_classes():
    odd = run(20)
    assert audit.misfits([run(), odd, run(None)]) == [odd]


@pytest.fixture
def authors():
    return published.load_all()


def test_one_setting_of_the_thirty_runs_differs(authors):
    found = [check for one in authors.values() for check in audit.checks(one)]
    (odd,) = (check for check in found if check.answer == Match.DIFFERS)
    assert odd == Check(("cifar100_fine", "vgg19", "gravity"), "outputs", 100, 20)
    by_setting = Counter(c.setting for c in found if c.answer == Match.AGREES)
    assert by_setting["epochs"] == by_setting["dataset"] == 30
    assert by_setting["learning_rate"] == 30
    assert by_setting["outputs"] == 29


@needs_real
def test_learning_rates_are_compared_with_the_summary(authors):
    with (REAL / "summary.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            key = row["dataset"], row["architecture"], row["optimizer"]
            (check,) = (
                c for c in audit.checks(authors[key]) if c.setting == "learning_rate"
            )
            assert check.stored == float(row["learning_rate"])
            assert check.answer == Match.AGREES
            # A run with ten times the rate would be noticed.
            wrong = {"learning_rate": 10 * float(row["learning_rate"])}
            other = audit.checks(replace(authors[key], settings=wrong))
            assert Match.DIFFERS in {check.answer for check in other}


def test_no_training_image_was_held_out(authors):
    for key, one in authors.items():
        images = 60_000 if "mnist" in key[0] else 50_000
        assert audit.counted(one.history["accuracy"]) == images, key
        assert audit.counted(one.history["val_accuracy"]) == 10_000, key


def test_the_odd_run_starts_below_guessing_among_a_hundred(authors):
    odd = authors["cifar100_fine", "vgg19", "gravity"]
    assert odd.history["loss"][0] == pytest.approx(2.8679, abs=1e-4)
    assert audit.first_loss_share(odd) == pytest.approx(2.8679 / 4.6052, abs=1e-4)
    assert audit.first_loss_share(odd, 20) == pytest.approx(2.8679 / 2.9957, abs=1e-4)
    others = [
        audit.first_loss_share(one)
        for key, one in authors.items()
        if key[0] == "cifar100_fine" and one is not odd
    ]
    assert min(others) > 0.9


def test_archives_have_their_time_in_their_names():
    # Fashion MNIST_vgg19_093099_RMSprop_20201218_213801
    assert audit.stored_at(run()).isoformat() == "2020-12-18T21:38:01"
