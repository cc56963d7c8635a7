"""`gravity.evidence.judgement`: verdicts that are decided here by hand."""

import csv
import itertools
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gravity.evidence import judgement, ledger, published, surveys
from gravity.evidence.claims import PAIRS
from gravity.evidence.judgement import by_seed, judge_authors, judge_ours
from gravity.evidence.ledger import LEDGER
from gravity.evidence.published import Published
from gravity.evidence.verdicts import Answer, Verdict
from gravity.experiments.experiment import grid
from gravity.experiments.paper import PAPER_OPTIMIZERS
from gravity.experiments.runs import METRICS, RunStore

ROOT = Path(__file__).resolve().parents[2]
REAL = ROOT.parent / "shared" / "published"
needs_real = pytest.mark.skipif(
    not (REAL / "summary.csv").is_file(),
    reason=f"the authors' histories as they were taken aren't there ({REAL})",
)

ENTRIES = [entry for entries in LEDGER.values() for entry in entries]
COMPUTED = [entry for entry in ENTRIES if entry.is_computed]

HIGH = {"gravity": 0.8, "adam": 0.7, "rmsprop": 0.6}
LOW = {"gravity": 0.5, "adam": 0.7, "rmsprop": 0.6}


def the(section, words):
    """The one entry of a section whose text has these words."""
    (found,) = (e for e in ENTRIES if e.section == section and words in e.text)
    return found


@pytest.fixture
def authors():
    return published.load_all()


@pytest.fixture
def summary():
    with (REAL / "summary.csv").open(newline="") as file:
        return {
            (row["dataset"], row["architecture"], row["optimizer"]): row
            for row in csv.DictReader(file)
        }


def numbers(summary, pair, column):
    return [float(summary[(*pair, name)][column]) for name in PAPER_OPTIMIZERS]


@needs_real
def test_winners_are_those_of_the_summary(authors, summary):
    """Six statements about the highest accuracy or lowest loss, from its columns."""
    accuracy = ("best_val_accuracy", "final_val_accuracy")
    for pair, words in [
        (("cifar10", "vgg16"), "highest test accuracy"),
        (("cifar100_fine", "vgg16"), "highest test accuracy"),
        (("mnist", "vgg19"), "highest test accuracy"),
    ]:
        first = [
            gravity > max(adam, rmsprop)
            for gravity, adam, rmsprop in (numbers(summary, pair, c) for c in accuracy)
        ]
        expected = {2: Answer.SUPPORTED, 1: Answer.CANT_TELL, 0: Answer.NOT_SUPPORTED}[
            sum(first)
        ]
        assert judge_authors(the(ledger.section_of(pair), words), authors).answer == (
            expected
        )
    loss = ("lowest_val_loss", "final_val_loss")
    for pair, winner in [
        (("mnist", "vgg19"), "gravity"),
        (("cifar10", "vgg16"), "adam"),
        (("fashion_mnist", "vgg19"), "adam"),
    ]:
        first = [
            PAPER_OPTIMIZERS[np.argmin(numbers(summary, pair, column))] == winner
            for column in loss
        ]
        expected = {2: Answer.SUPPORTED, 1: Answer.CANT_TELL, 0: Answer.NOT_SUPPORTED}[
            sum(first)
        ]
        entry = the(ledger.section_of(pair), "has the lowest test loss")
        assert judge_authors(entry, authors).answer == expected


@needs_real
def test_coarse_labels_do_not_bear_out_the_abstract(authors, summary):
    # 55.07 % against Adam's 57.21 %, and 56.12 % against RMSprop's 56.74 %.
    for architecture in ("vgg16", "vgg19"):
        pair = ("cifar100_coarse", architecture)
        gravity, *others = numbers(summary, pair, "best_val_accuracy")
        assert gravity < max(others)
    verdict = judge_authors(the("Abstract", "more than ten classes"), authors)
    assert verdict.answer == Answer.NOT_SUPPORTED


@needs_real
def test_a_run_with_other_outputs_than_classes_decides_nothing(authors, summary):
    units = {key: int(row["output_units"]) for key, row in summary.items()}
    classes = {"mnist": 10, "fashion_mnist": 10, "cifar10": 10}
    classes |= {"cifar100_coarse": 20, "cifar100_fine": 100}
    odd = [key for key, value in units.items() if value != classes[key[0]]]
    assert odd == [("cifar100_fine", "vgg19", "gravity")]
    assert judgement.fitting(authors).keys() == units.keys() - set(odd)

    claim = the("Abstract", "With many classes")
    verdict = judge_authors(claim, authors)
    assert verdict.answer == Answer.CANT_TELL
    assert "VGG16: supported" in verdict.evidence
    assert "does not fit its label: supported" in verdict.evidence
    for entry in LEDGER["CIFAR-100 (fine) × VGG19"]:
        assert judge_authors(entry, authors).answer == Answer.CANT_TELL
    mended = dict(authors)
    mended[odd[0]] = replace(authors[odd[0]], output_units=100)
    assert judge_authors(claim, mended).answer == Answer.SUPPORTED


def test_steadiness_is_that_of_a_loop(authors):
    def spread(key, metric):
        values = authors[key].history[metric][20:]
        return np.std([b - a for a, b in itertools.pairwise(values)])

    pairs = [pair for pair in PAIRS if pair != ("cifar100_fine", "vgg19")]
    calmer = {"adam": 0, "rmsprop": 0, "both": 0}
    for pair in pairs:
        wins = {
            other: all(
                spread((*pair, "gravity"), metric) < spread((*pair, other), metric)
                for metric in ("val_loss", "val_accuracy")
            )
            for other in ("adam", "rmsprop")
        }
        for other in wins:
            calmer[other] += wins[other]
        calmer["both"] += all(wins.values())
    verdict = judge_authors(the("Abstract", "steadier"), authors)
    assert (
        f"Adam's in {calmer['adam']} of {len(pairs)} pairs, than RMSprop's in "
        f"{calmer['rmsprop']}, than both in {calmer['both']}"
    ) in verdict.evidence
    assert verdict.answer == Answer.NOT_SUPPORTED


@needs_real
def test_other_claims_of_all_pairs(authors, summary):
    keys = [(*pair, "gravity") for pair in PAIRS]
    lowest = min(float(summary[key]["final_accuracy"]) for key in keys)
    verdict = judge_authors(the("Abstract", "no other arguments"), authors)
    assert (verdict.answer, lowest > 0.95) == (Answer.SUPPORTED, True)
    assert f"is {100 * lowest:.1f} %" in verdict.evidence
    behind = []
    for pair in PAIRS[:-1]:
        values = numbers(summary, pair, "best_val_accuracy")
        behind.append(100 * (max(values) - values[0]))
    near = sum(value < 2 for value in behind)
    verdict = judge_authors(the("5", "acceptable"), authors)
    assert f"in {near} of 9 pairs, at most {max(behind):.1f}" in verdict.evidence
    assert (near, verdict.answer) == (8, Answer.SUPPORTED)


def test_depth_is_compared_within_one_optimizer(authors):
    for words, answer in [
        ("RMSprop oscillates less", Answer.SUPPORTED),
        ("Adam's test loss oscillates more", Answer.SUPPORTED),
        ("Adam's test accuracy oscillates less", Answer.NOT_SUPPORTED),
    ]:
        assert judge_authors(the("4.1.2", words), authors).answer == answer
    slower = judge_authors(the("4.2.2", "On the deeper network Adam"), authors)
    assert slower.answer == Answer.SUPPORTED
    # Table 5.
    assert "0.00025 on VGG16 and 1e-05 on VGG19" in slower.evidence


def test_counts_add_up(authors):
    found = judgement.counts(authors, [])
    assert list(found) == list(LEDGER)
    total = sum((sum(each.values(), Counter()) for each in found.values()), Counter())
    assert total.total() == len(ENTRIES) + len(ENTRIES) - len(COMPUTED)
    assert found["CIFAR-100 (fine) × VGG19"]["authors"] == {Answer.CANT_TELL: 5}


def test_without_histories_nothing_can_be_told():
    for entry in ENTRIES:
        if not entry.is_computed:
            assert judge_authors(entry, {}).answer == Answer.CANT_TELL


@pytest.fixture
def stored(tmp_path):
    """Stores runs of one pair whose test accuracy and loss are given by optimizer."""
    store = RunStore(tmp_path)

    def make(levels, seeds, dataset="cifar10", architecture="vgg16", **values):
        values = {"epochs": 3, "width": 0.25} | values
        for name, level in levels.items():
            arguments = values.get("arguments", {}).get(name, {})
            plan = {**values, "arguments": {name: arguments}}
            for one in grid(
                dataset, architecture, optimizers=[name], seeds=seeds, **plan
            ):
                history = {
                    "loss": [2.0, 1.0, 1 - level],
                    "val_loss": [2.0, 1.0, 1 - level],
                    "accuracy": [0.1, 0.2, level],
                    "val_accuracy": [0.1, 0.2, level],
                }
                # The last value stands for all epochs after the third.
                short = {
                    key: (each + each[-1:] * one.epochs)[: one.epochs]
                    for key, each in history.items()
                }
                store.save(one, short, {})
        return list(store)

    return make


def test_three_seeds_that_agree_decide_at_reduced_scale(stored):
    entry = the("4.3.1", "Gravity has the highest test accuracy")
    runs = stored(HIGH, range(2))
    verdict = judge_ours(entry, runs)
    assert verdict.answer == Answer.CANT_TELL
    assert verdict.evidence.startswith(
        "reduced scale (width 0.25, 3 epochs, 50,000 images); 2 seeds, too few"
    )
    assert "Gravity 80.00 %" in verdict.evidence
    verdict = judge_ours(entry, stored(HIGH, [2]))
    assert verdict.answer == Answer.HOLDS_REDUCED
    assert verdict.evidence.endswith("3 of 3 seeds say so, 0 say the opposite")
    verdict = judge_ours(entry, stored(LOW, [3]))
    assert verdict.answer == Answer.CANT_TELL
    assert verdict.evidence.endswith("3 of 4 seeds say so, 1 say the opposite")


def test_five_seeds_at_the_papers_scale_decide(stored):
    entry = the("4.3.1", "Gravity has the highest test accuracy")
    scale = {"width": 1.0, "epochs": 100, "batch_size": 128}
    assert judge_ours(entry, stored(HIGH, range(4), **scale)).answer == Answer.CANT_TELL
    verdict = judge_ours(entry, stored(HIGH, [4], **scale))
    assert verdict.answer == Answer.SUPPORTED
    assert verdict.evidence.endswith("5 of 5 seeds say so, 0 say the opposite")


def test_smoke_runs_and_generated_data_do_not_count(stored):
    entry = the("4.3.1", "Gravity has the highest test accuracy")
    runs = stored(HIGH, range(5), epochs=2)
    assert judge_ours(entry, runs) == Verdict(Answer.CANT_TELL, "no run")
    runs = stored(HIGH, range(5), data="generated-0123456789ab")
    assert judge_ours(entry, runs) == Verdict(Answer.CANT_TELL, "no run")


def test_the_set_with_five_seeds_nearest_to_the_paper_is_taken(stored):
    entry = the("4.3.1", "Gravity has the highest test accuracy")
    stored(HIGH, range(5), train_size=100, batch_size=16)
    stored(LOW, range(5), batch_size=16)
    runs = stored(HIGH, [0])
    chosen = judgement.own_runs(runs)["cifar10", "vgg16"]
    assert {run.experiment.batch_size for run in chosen} == {16}
    assert {run.experiment.train_size for run in chosen} == {None}
    assert judge_ours(entry, runs).answer == Answer.FAILS_REDUCED


def test_training_loss_chooses_between_arguments(stored):
    pair = ("cifar10", "vgg16")
    stored(LOW, range(5))
    runs = stored({"gravity": 0.6}, range(5), arguments={"gravity": {"alpha": 0.02}})
    chosen = judgement.own_runs(runs)[pair]
    alphas = {r.experiment.arguments.get("alpha") for r in chosen}
    assert (len(chosen), alphas) == (15, {0.02, None})
    runs = stored({"gravity": 0.1}, range(6), arguments={"gravity": {"alpha": 0.03}})
    chosen = judgement.own_runs(runs)[pair]
    assert 0.03 in {r.experiment.arguments.get("alpha") for r in chosen}


def test_claims_about_several_pairs_need_all_of_them(stored):
    entry = the("Abstract", "steadier")
    verdict = judge_ours(entry, stored(HIGH, range(5)))
    assert verdict == Verdict(Answer.CANT_TELL, "runs of 1 of 10 pairs")


def test_alpha_is_judged_by_who_learns(stored):
    assert surveys.alpha_suits_most([]).answer == Answer.CANT_TELL

    def tries(alpha, seeds, level, **values):
        arguments = {"gravity": {"alpha": alpha}}
        return stored({"gravity": level}, seeds, arguments=arguments, **values)

    # A final loss of 0.2, and 2.5 where guessing among ten classes costs 2.30.
    tries(0.02, [0], 0.8)
    runs = tries(0.01, range(4), -1.5)
    assert surveys.alpha_suits_most(runs).answer == Answer.CANT_TELL
    runs = tries(0.01, [4], -1.5)
    verdict = surveys.alpha_suits_most(runs)
    assert verdict.answer == Answer.NOT_SUPPORTED
    assert verdict.evidence == (
        "CIFAR-10 × VGG16, width 0.25, 3 epochs, l = 0.1: 0 of 5 runs with α = "
        "0.01 learnt, α = 0.02 did"
    )
    # It takes five settings to say "most"; one that can't be told leaves all open.
    for batch_size in range(10, 16):
        runs = tries(0.01, range(5), 0.8, batch_size=batch_size)
    assert surveys.alpha_suits_most(runs).answer == Answer.CANT_TELL
    for batch_size in range(16, 18):
        runs = tries(0.01, range(5), 0.8, batch_size=batch_size)
    assert surveys.alpha_suits_most(runs).answer == Answer.SUPPORTED
    runs = tries(0.01, range(4), 0.8, batch_size=18)
    assert surveys.alpha_suits_most(runs).answer == Answer.CANT_TELL


def test_beta_is_judged_by_the_last_training_loss(stored):
    def tries(beta, seeds, level):
        arguments = {"gravity": {"beta": beta}}
        return stored({"gravity": level}, seeds, arguments=arguments)

    assert surveys.beta_is_best(tries(0.9, range(5), 0.8)).answer == Answer.CANT_TELL
    assert surveys.beta_is_best(tries(0.5, range(4), 0.7)).answer == Answer.CANT_TELL
    assert surveys.beta_is_best(tries(0.5, [4], 0.7)).answer == Answer.SUPPORTED
    assert (
        surveys.beta_is_best(tries(0.99, range(5), 0.9)).answer == Answer.NOT_SUPPORTED
    )


def test_losses_that_are_no_numbers_do_not_win():
    judge = surveys._lowest(0.9)
    assert judge({0.9: 0.5, 0.5: math.nan}).answer == Answer.SUPPORTED
    assert judge({0.9: math.nan, 0.5: 1.0}).answer == Answer.NOT_SUPPORTED
    assert judge({0.9: 0.5, 0.5: 0.4}).answer == Answer.NOT_SUPPORTED


def test_published_is_a_type_that_says_what_fits():
    run = Published("mnist", "vgg16", "adam", {}, {}, None, "", "", "")
    assert list(judgement.fitting({("mnist", "vgg16", "adam"): run}))
    wrong = replace(run, output_units=20)
    assert not judgement.fitting({("mnist", "vgg16", "adam"): wrong})


def test_seeds_pair_what_every_optimizer_has(tmp_path):
    store = RunStore(tmp_path)
    for optimizer, seeds in (("gravity", [0, 2, 1]), ("adam", [0, 1])):
        for one in grid(
            "digits", "vgg16", optimizers=[optimizer], seeds=seeds, epochs=1
        ):
            loss = one.seed + (optimizer == "adam") / 2
            store.save(one, {metric: [loss] for metric in METRICS}, {})
    found = by_seed(list(store))
    losses = [{name: each["loss"] for name, each in seed.items()} for seed in found]
    assert losses == [
        {"gravity": [0.0], "adam": [0.5]},
        {"gravity": [1.0], "adam": [1.5]},
    ]
