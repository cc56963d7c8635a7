"""The tables, cards and sentences around a chapter's content."""

import math
import re

import pytest

from gravity.book import cards, prose, tables
from gravity.experiments.experiment import Experiment
from gravity.experiments.runs import METRICS, RunStore


def test_code_of_a_function_is_its_statements():
    def described(x: int) -> int:
        """Do something.

        Args:
            x: a number.
        """
        # This says why.
        y = x + 1
        return y

    def bare(x: int) -> int:
        return x

    listing = prose.code_of(described).data
    assert listing == "```python\ny = x + 1\nreturn y\n```"
    assert prose.code_of(bare).data == "```python\nreturn x\n```"


@pytest.fixture
def conditions(tmp_path):
    """Runs of two conditions with five seeds, and of one with four."""
    store = RunStore(tmp_path)
    found = {}
    for alpha, name, accuracies in (
        (0.01, "one", [0.90, 0.91, 0.92, 0.93, 0.94]),
        (0.02, "other", [0.80, 0.82, 0.81, 0.85, 0.83]),
        (0.03, "few", [0.5, 0.5, 0.5, 0.5]),
    ):
        found[name] = [
            store.save(
                Experiment(
                    dataset="digits",
                    architecture="vgg16",
                    optimizer="gravity",
                    arguments={"alpha": alpha},
                    epochs=1,
                    seed=seed,
                    weight_noise=0.05 if name == "few" else 0.0,
                ),
                {metric: [accuracy] for metric in METRICS},
                {"seconds": 1.0},
            )
            for seed, accuracy in enumerate(accuracies)
        ]
    return found


@pytest.mark.parametrize("end", [math.nan, math.inf])
def test_table_calls_a_diverged_run_so(tmp_path, end):
    experiment = Experiment(
        dataset="digits", architecture="vgg16", optimizer="rmsprop", epochs=2
    )
    history = {metric: [2.0, end] for metric in ("loss", "val_loss")}
    history |= {metric: [0.1, 0.1] for metric in ("accuracy", "val_accuracy")}
    run = RunStore(tmp_path).save(experiment, history, {"seconds": 1.0})
    for shown in (tables.results_table([run]), tables.winners([run])):
        assert ">diverged<" in shown.data
        assert "nan" not in shown.data
        assert "inf" not in shown.data


def test_differences_are_paired_and_in_points(conditions):
    shown = tables.differences(
        conditions, [("one", "other"), ("one", "few"), ("other", "one")]
    ).data
    cells = re.findall("<t[dh][^>]*>([^<]*)</t", shown)[4:]
    # By hand: 10, 9, 11, 8 and 11 points. Of the 32 ways to change their signs two have
    # a mean as far out, and there are two comparisons.
    assert cells[:2] == ["(one) minus (other)", "+9.8"]
    assert cells[3] == cells[11] == "0.125"
    low, high = map(float, cells[2].split(" to "))
    assert 8 <= low < 9.8 < high <= 11
    assert cells[4:8] == ["(one) minus (few)", "–", "too few seeds", "–"]
    assert cells[9] == "−9.8"


def test_card_shows_every_value_that_the_runs_have(conditions):
    runs = [run for each in conditions.values() for run in each]
    card = cards.run_card(runs).data.replace("&nbsp;", " ")
    assert "alpha = 0.01 or 0.02 or 0.03" in card
    assert "Glorot, Glorot with noise of 0.05" in card
    assert "learning_rate = 0.1," in card
    # Each was given one second.
    assert f"{len(runs)} s in all, for {len(runs)} runs" in card


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (99.0, "99 s"),
        (100.0, "2 min"),
        (3570.0, "60 min"),
        (9000.0, "2.5 h"),
        (64_800.0, "18 h"),
        (2_332_800.0, "27 days"),
    ],
)
def test_card_adds_up_how_long_the_runs_trained(tmp_path, seconds, text):
    store = RunStore(tmp_path)
    runs = [
        store.save(
            Experiment(
                dataset="digits",
                architecture="vgg16",
                optimizer="gravity",
                epochs=1,
                width=width,
            ),
            {metric: [0.5] for metric in METRICS},
            {"seconds": seconds / 2},
        )
        for width in (0.125, 0.25)
    ]
    card = cards.run_card(runs).data
    assert f"{text} in all, for 2 runs" in card
    assert "width 0.125, 0.25" in card


def test_short_labels_of_rows_take_no_room():
    short = tables.table(["m", "Step"], [["1", "0.5"], ["new W₁", "2"]]).data
    long = tables.table(["Pair", "Step"], [["1", "0.5"], ["MNIST × VGG16", "2"]]).data
    assert 'class="gravity-table gravity-short"' in short
    assert 'class="gravity-table"' in long


def test_numbers_in_tables_have_a_minus_and_words_keep_their_hyphen():
    row = ["max-step", "-0.1", "-9.9 to -8.1", "5.00e-05", "2026-11-25"]
    made = tables.table(["", "a", "b", "c", "d"], [row]).data
    cells = re.findall(r"<t[dh][^>]*>([^<]*)</t", made)[5:]
    assert cells == ["max-step", "−0.1", "−9.9 to −8.1", "5.00e-05", "2026-11-25"]


def test_sentences_name_their_column_and_keep_a_value_with_its_name():
    made = tables.table(["It", "Says"], [["a", "lr = 0.1, 5 %"]], prose=True).data
    assert (
        '<td class="gravity-words" data-column="Says">lr&nbsp;=&nbsp;0.1, 5&nbsp;%</td>'
        in made
    )


def test_table_of_the_store_has_one_row_for_all_optimizers(tmp_path):
    store = RunStore(tmp_path)
    made = [
        store.save(
            Experiment(
                dataset="digits", architecture="vgg16", optimizer=name, epochs=epochs
            ),
            {metric: [0.5] * epochs for metric in METRICS},
            {"seconds": 50.0},
        )
        for name, epochs in (("adam", 10), ("gravity", 10), ("adam", 8))
    ]
    rows = re.findall("<tr>(.*?)</tr>", tables.store_table(made).data)
    cells = [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row) for row in rows[1:]]
    alike = ["1", "128", "1,437"]
    assert [[row[0], row[1], row[3], *row[6:]] for row in cells] == [
        ["Digits × VGG16", "reduced", "8", "Adam\xa01", "50 s"],
        ["Digits × VGG16", "reduced", "10", "Gravity\xa01, Adam\xa01", "2 min"],
    ]
    assert all([row[2], *row[4:6]] == alike for row in cells)


def test_columns_of_words_are_told_from_those_of_numbers():
    made = tables.table(
        ["Optimizer", "Loss", "Won by", "Gain"],
        [["Adam", "2.3", "rate = 1", "-0.1"], ["SGD", "too few", "momentum", "–"]],
    ).data
    assert re.findall(r"<th scope=\"col\"(.*?)>(.*?)<", made) == [
        (' class="gravity-words"', "Optimizer"),
        ("", "Loss"),
        (' class="gravity-words"', "Won by"),
        ("", "Gain"),
    ]
    assert re.findall(r"<td(.*?)>(.*?)<", made) == [
        ("", "2.3"),
        (' class="gravity-words"', "rate = 1"),
        ("", "−0.1"),
        ("", "too few"),
        (' class="gravity-words"', "momentum"),
        ("", "–"),
    ]
    assert '<th scope="col">' in tables.table(["Nothing"], []).data


@pytest.mark.parametrize(
    ("value", "digits", "written"),
    [
        (0.00042, 1, r"4.2 \cdot 10^{-4}"),
        (-1.6e-7, 0, r"-2 \cdot 10^{-7}"),
        (7.0, 0, "7"),
        (96.0, 0, "10^{2}"),
        (-1e-14, 0, "-10^{-14}"),
        (1e-14, 1, r"1.0 \cdot 10^{-14}"),
    ],
)
def test_scientific_is_a_product_with_a_power_of_ten(value, digits, written):
    assert prose.scientific(value, digits) == written
