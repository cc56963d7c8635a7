"""`gravity.evidence.findings` against the stored files, read and judged here anew."""

import csv
import functools
import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from gravity.evidence import findings, studies
from gravity.evidence.verdicts import Answer
from gravity.experiments.experiment import Experiment
from gravity.experiments.runs import METRICS, RunStore

RESULTS = Path(__file__).resolve().parents[2] / "book/results"


@functools.cache
def stored():
    """Every stored run's last values by its description, without `runs`."""
    found = {}
    for record in sorted(RESULTS.glob("*/run.json")):
        description = json.loads(record.read_text())["experiment"]
        rows = list(csv.DictReader((record.parent / "history.csv").open()))
        found[json.dumps(description, sort_keys=True)] = {
            name: float(value) for name, value in rows[-1].items()
        }
    return found


def values(group, metric="val_accuracy"):
    """The last values of the runs of a condition, in the order of the seeds."""
    keys = [json.dumps(one.describe(), sort_keys=True) for one in group]
    return [stored()[key][metric] for key in keys if key in stored()]


def decided(one, other):
    """Mean difference in points, and where its interval's ends may lie.

    Of five values there are 5⁵ bootstrap samples: all are taken here, and a drawn
    interval's ends lie between the exact percentiles a little below and above.
    """
    one, other = values(one), values(other)
    if min(len(one), len(other)) < 5:
        return None
    each = 100 * (np.array(one) - np.array(other))
    means = np.array([np.mean(s) for s in itertools.product(each, repeat=len(each))])
    below = (np.mean(means < each.mean()) + np.mean(means <= each.mean())) / 2
    bias = stats.norm.ppf(below)
    without = (each.sum() - each) / (len(each) - 1)
    influence = without.mean() - without
    acceleration = (influence**3).sum() / (6 * (influence**2).sum() ** 1.5)
    ends = []
    for z in stats.norm.ppf([0.025, 0.975]):
        level = stats.norm.cdf(bias + (bias + z) / (1 - acceleration * (bias + z)))
        about = np.clip([level - 0.01, level + 0.01], 0, 1)
        ends.append(np.quantile(means, about) + np.array([-1e-6, 1e-6]))
    return each.mean(), *ends


def test_numbers_and_answers_of_the_summary_follow_from_the_stored_files():
    store = RunStore(RESULTS)
    results = findings.summary(findings.evidence(store))
    assert len(results) == 5
    parts, plateau = studies.parts(), studies.plateau()
    tuned = studies.tuned(store)
    expected = [
        decided(parts["neither, same push"], parts["Gravity"]),
        decided(parts["Gravity"], parts["no push"]),
        decided(plateau["Adam", "Glorot + noise"], plateau["Adam", "Glorot"]),
        None,  # In the next test.
        decided(tuned.get(("he", "adam"), []), tuned.get(("glorot", "gravity"), [])),
    ]
    for place, (finding, numbers) in enumerate(zip(results, expected, strict=True)):
        if place == 3:
            continue
        if numbers is None:
            assert finding.answer == Answer.CANT_TELL
            assert math.isnan(finding.estimate)
            continue
        mean, low, high = numbers
        assert finding.estimate == pytest.approx(mean, abs=1e-6)
        assert low[0] <= finding.low <= low[1]
        assert high[0] <= finding.high <= high[1]
        side = "below" if mean < 0 else "above"
        assert f" {abs(mean):.1f} points of test accuracy (" in finding.sentence
        assert f") {side} " in finding.sentence
        if place == 0:
            within = finding.low > -2 and finding.high < 2
            beyond = finding.low > 2 or finding.high < -2
            answer = (
                Answer.SUPPORTED
                if within
                else Answer.NOT_SUPPORTED
                if beyond
                else Answer.CANT_TELL
            )
        else:
            answer = (
                Answer.SUPPORTED
                if finding.low > 0
                else Answer.NOT_SUPPORTED
                if finding.high <= 0
                else Answer.CANT_TELL
            )
        assert finding.answer == answer


def test_exponent_of_the_summary_follows_from_the_stored_files():
    """Fitted here by SciPy, with the seeds drawn anew."""
    finding = findings.summary(findings.evidence(RunStore(RESULTS)))[3]
    rows = {}
    for (width, alpha), group in studies.width_map().items():
        rows.setdefault(width, []).append((alpha, values(group, "loss")))
    alphas = np.array([alpha for alpha, _ in next(iter(rows.values()))])
    cells = {
        width: np.nan_to_num([losses for _, losses in row], nan=np.inf)
        for width, row in rows.items()
        if all(len(losses) == 5 for _, losses in row)
    }
    if len(cells) < 3:
        assert finding.answer == Answer.CANT_TELL
        return

    def slope(seeds):
        best = [alphas[cell[:, seeds].mean(axis=1).argmin()] for cell in cells.values()]
        return stats.linregress(np.log(list(cells)), np.log(best)).slope

    stream = np.random.default_rng(7)
    drawn = [slope(stream.integers(0, 5, 5)) for _ in range(2000)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    # Half a step of the grid at one end: its α are a factor of about √2 apart.
    coarse = 0.25 * math.log(2) / math.log(max(cells) / min(cells))
    assert finding.estimate == pytest.approx(slope(np.arange(5)), abs=1e-9)
    assert finding.low == pytest.approx(low - coarse, abs=0.05)
    assert finding.high == pytest.approx(high + coarse, abs=0.05)
    holds = finding.low <= -0.5 <= finding.high < 0
    apart = finding.low > -0.5 or finding.high < -0.5
    assert finding.answer == (
        Answer.SUPPORTED
        if holds
        else Answer.NOT_SUPPORTED
        if apart
        else Answer.CANT_TELL
    )


def test_every_finding_leads_to_a_figure_that_exists():
    chapters = "".join(
        path.read_text() for path in (RESULTS.parents[1] / "notebooks").rglob("*.ipynb")
    )
    for finding in findings.summary(findings.evidence(RunStore(RESULTS))):
        assert f'"name": "{finding.figure}"' in chapters


@pytest.fixture
def made(tmp_path):
    """A store with runs of a study whose last values are given."""
    store = RunStore(tmp_path)
    provenance = {"seconds": 1.0}

    def make(experiment, **last):
        history = {
            name: [*[0.5] * (experiment.epochs - 1), last.get(name, 0.5)]
            for name in METRICS
        }
        store.save(experiment, history, provenance)

    return store, make


@pytest.mark.parametrize(
    ("shift", "answer"), [(0.001, Answer.SUPPORTED), (-0.3, Answer.NOT_SUPPORTED)]
)
def test_linear_means_within_two_points(made, shift, answer):
    store, make = made
    study = studies.parts()
    for seed, (one, other) in enumerate(
        zip(study["Gravity"], study["neither, same push"], strict=True)
    ):
        make(one, val_accuracy=0.9 + 0.001 * seed)
        make(other, val_accuracy=0.9 + 0.002 * seed + shift)
    found = findings.nearly_linear(studies.find(study, store))
    assert found.answer == answer
    assert found.estimate == pytest.approx(100 * (shift + 0.002), abs=1e-9)


def test_four_seeds_cannot_tell(made):
    store, make = made
    study = studies.parts()
    for name, seed in itertools.product(("Gravity", "no push"), range(4)):
        make(study[name][seed], val_accuracy=0.9 if name == "Gravity" else 0.1)
    assert findings.push(studies.find(study, store)).answer == Answer.CANT_TELL


@pytest.mark.parametrize(
    ("power", "answer"), [(-0.5, Answer.SUPPORTED), (0.0, Answer.NOT_SUPPORTED)]
)
def test_exponent_is_the_slope_of_the_best_alphas(made, power, answer):
    """A loss whose smallest value lies where a power law has it."""
    store, make = made
    study = studies.width_map()
    for (width, alpha), group in study.items():
        distance = math.log(alpha / (0.014 * (width / 0.25) ** power))
        for one in group:
            make(one, loss=distance**2 + 1e-3 * one.seed)
    found = findings.width_exponent(studies.find(study, store))
    assert found.estimate == pytest.approx(power, abs=0.05)
    assert found.answer == answer
    assert found.low <= found.estimate <= found.high


def test_diverged_run_is_no_best_alpha(made):
    store, make = made
    study = studies.width_map(widths=(0.25,), alphas=(0.01, 0.02), seeds=(0,))
    make(study[0.25, 0.01][0], loss=1.0)
    make(study[0.25, 0.02][0], loss=math.nan)
    assert findings.best_alphas(studies.find(study, store)) == {0.25: 0.01}


def test_winner_has_the_smallest_mean_loss_on_held_out_images(made):
    store, make = made
    tries = studies.tuning()
    for (start, optimizer, rate), group in tries.items():
        for one in group:
            # The best is the largest rate but one, and its neighbour diverges.
            rates = sorted(other for *key, other in tries if key == [start, optimizer])
            place = rates.index(rate)
            make(one, val_loss=math.nan if place == 5 else 1.0 - 0.1 * place)
    winners = studies.winners(studies.find(tries, store))
    assert winners["glorot", "gravity"] == 1.0
    assert winners["he", "adam"] == 3e-3
    tuned = studies.tuned(store)
    assert len(tuned) == 8
    for (start, optimizer), group in tuned.items():
        assert [one.seed for one in group] == [0, 1, 2, 3, 4]
        assert {type(one) for one in group} == {Experiment}
        assert all(one.validation_size is None for one in group)
        assert all(one.initial_weights == start for one in group)
        rate = group[0].arguments["learning_rate"]
        assert rate == winners[start, optimizer]
