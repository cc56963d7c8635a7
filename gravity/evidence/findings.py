"""What the studies found: five sentences, each with a number and its interval.

All of it is computed from stored runs; where runs are missing, a finding says so.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gravity.evidence import studies
from gravity.evidence.comparison import FEWEST_SEEDS, RESAMPLES, difference, signed
from gravity.evidence.rules import SIMILAR_POINTS
from gravity.evidence.verdicts import Answer
from gravity.experiments.runs import Run, RunStore

Runs = Mapping[str, Sequence[Run]]
"""Runs by condition, as `gravity.evidence.studies.find` returns them."""


@dataclass(frozen=True)
class Finding:
    """One result of the evidence.

    Attributes:
        hypothesis: what was to be decided, as a sentence.
        answer: supported, not supported or can't tell.
        sentence: what was found.
        estimate: the number in it.
        low: lower end of the number's 95 % confidence interval.
        high: its upper end.
        unit: of the three.
        page: the chapter that shows it, from the folder of the notebooks.
        figure: the figure's label there.
    """

    hypothesis: str
    answer: Answer
    sentence: str
    estimate: float
    low: float
    high: float
    unit: str
    page: str
    figure: str


def _missing(hypothesis: str, page: str, figure: str) -> Finding:
    return Finding(
        hypothesis,
        Answer.CANT_TELL,
        f"Some condition has fewer than {FEWEST_SEEDS} seeds stored.",
        math.nan,
        math.nan,
        math.nan,
        "",
        page,
        figure,
    )


def _complete(found: Runs, names: Sequence[str]) -> bool:
    return all(len(found.get(name, ())) >= FEWEST_SEEDS for name in names)


def _points(found: Runs, one: str, other: str) -> tuple[float, float, float]:
    """The difference of the final test accuracies, in points, with its interval."""
    found_difference = difference(found[one], found[other])
    return (
        100 * found_difference.mean,
        100 * found_difference.low,
        100 * found_difference.high,
    )


def nearly_linear(found: Runs) -> Finding:
    """Whether Gravity without its bound and its rising average does as well.

    Args:
        found: the runs of `gravity.evidence.studies.parts`.
    """
    hypothesis = (
        "The bound on the step and the rising moving average change little: without "
        "both, and with a push of the same size, the final test accuracy is within "
        f"{SIMILAR_POINTS:g} points."
    )
    place = ("evidence/parts.ipynb", "fig-parts")
    if not _complete(found, ("neither, same push", "Gravity")):
        return _missing(hypothesis, *place)
    mean, low, high = _points(found, "neither, same push", "Gravity")
    if -SIMILAR_POINTS < low <= high < SIMILAR_POINTS:
        answer = Answer.SUPPORTED
    elif low > SIMILAR_POINTS or high < -SIMILAR_POINTS:
        answer = Answer.NOT_SUPPORTED
    else:
        answer = Answer.CANT_TELL
    return Finding(
        hypothesis,
        answer,
        "Without the bound on the step, with a constant moving average and a push of "
        f"the same size, Gravity ends {_apart(mean, low, high)} where it ends as it "
        "is.",
        mean,
        low,
        high,
        "points",
        *place,
    )


def _apart(mean: float, low: float, high: float) -> str:
    side = "below" if mean < 0 else "above"
    return (
        f"{abs(mean):.1f} points of test accuracy ({signed(low)} to {signed(high)}) "
        f"{side}"
    )


def _raises(
    hypothesis: str,
    sentence: str,
    found: Runs,
    one: str,
    other: str,
    page: str,
    figure: str,
) -> Finding:
    """A finding that rests on one condition's accuracy being above another's."""
    if not _complete(found, (one, other)):
        return _missing(hypothesis, page, figure)
    mean, low, high = _points(found, one, other)
    answer = (
        Answer.SUPPORTED
        if low > 0
        else Answer.NOT_SUPPORTED
        if high <= 0
        else Answer.CANT_TELL
    )
    return Finding(
        hypothesis,
        answer,
        sentence.format(_apart(mean, low, high)),
        mean,
        low,
        high,
        "points",
        page,
        figure,
    )


def push(found: Runs) -> Finding:
    """Whether the push of the initial velocity is what trains a plain VGG16.

    Args:
        found: the runs of `gravity.evidence.studies.parts`.
    """
    return _raises(
        "Gravity trains a plain VGG16 by the push of its initial velocity: without it "
        "the final test accuracy is lower.",
        "With its push Gravity ends {} where it ends without.",
        found,
        "Gravity",
        "no push",
        "evidence/parts.ipynb",
        "fig-parts",
    )


def initial_weights(found: Runs) -> Finding:
    """Whether other optimizers train as well from weights with Gravity's noise.

    Args:
        found: the runs of `gravity.evidence.studies.plateau`.
    """
    return _raises(
        "What the push does for Gravity on a deep plain network it does for others: "
        "with its noise on the initial weights, Adam ends higher.",
        "With the noise of Gravity's push on its initial weights Adam ends {} where it "
        "ends without.",
        found,
        "Adam, Glorot + noise",
        "Adam, Glorot",
        "evidence/plateau.ipynb",
        "fig-plateau",
    )


def best_alphas(found: Runs, seeds: Sequence[int] | None = None) -> dict[float, float]:
    """Return for each width the α with the smallest mean final training loss.

    Args:
        found: the runs of `gravity.evidence.studies.width_map`. A loss that is no
            number counts as infinite.
        seeds: the seeds to average over; one that is there twice counts twice.
            Defaults to all.
    """
    best: dict[float, tuple[float, float]] = {}
    for name, group in found.items():
        if not group:
            continue
        width, alpha = map(float, name.split())
        losses = {run.experiment.seed: run.history["loss"][-1] for run in group}
        values = [losses[seed] for seed in seeds or losses if seed in losses]
        mean = float(np.mean(values)) if values else math.inf
        if math.isnan(mean):
            mean = math.inf
        best[width] = min(best.get(width, (math.inf, alpha)), (mean, alpha))
    return {width: alpha for width, (_, alpha) in best.items()}


def _exponent(best: Mapping[float, float]) -> float:
    widths, alphas = zip(*sorted(best.items()), strict=True)
    return float(np.polyfit(np.log(widths), np.log(alphas), 1)[0])


def width_exponent(found: Runs) -> Finding:
    """By which power of the width the best α goes.

    The interval draws seeds anew, the same for all cells, and is widened by what half a
    step of the grid of α changes at one end of the widths: the best α lies somewhere
    around the best one of the grid. A width of which a cell has too few seeds doesn't
    count.

    Args:
        found: the runs of `gravity.evidence.studies.width_map`.
    """
    hypothesis = "The best α goes with 1 / √width: the exponent is −1/2."
    place = ("evidence/width.ipynb", "fig-width")
    cells: dict[float, list[str]] = {}
    for name in found:
        cells.setdefault(float(name.split()[0]), []).append(name)
    widths = [width for width, names in cells.items() if _complete(found, names)]
    if len(widths) < 3:
        return _missing(hypothesis, *place)
    found = {name: found[name] for width in widths for name in cells[width]}
    seeds = sorted({run.experiment.seed for group in found.values() for run in group})
    stream = np.random.default_rng(0)
    drawn = [
        _exponent(best_alphas(found, list(stream.choice(seeds, len(seeds)))))
        for _ in range(RESAMPLES // 9)
    ]
    alphas = sorted({float(name.split()[1]) for name in found})
    half = float(np.median(np.diff(np.log(alphas)))) / 2
    coarse = half / math.log(max(widths) / min(widths))
    low = float(np.quantile(drawn, 0.025)) - coarse
    high = float(np.quantile(drawn, 0.975)) + coarse
    estimate = _exponent(best_alphas(found))
    if low <= -0.5 <= high and high < 0:
        answer = Answer.SUPPORTED
    elif low > -0.5 or high < -0.5:
        answer = Answer.NOT_SUPPORTED
    else:
        answer = Answer.CANT_TELL
    return Finding(
        hypothesis,
        answer,
        f"The best α goes with the width to the power {signed(estimate, 2)} "
        f"({signed(low, 2)} to {signed(high, 2)}).",
        estimate,
        low,
        high,
        "",
        *place,
    )


def equal_budgets(found: Runs) -> Finding:
    """Whether tuned Gravity is behind tuned Adam that starts from He's weights.

    Args:
        found: the runs of `gravity.evidence.studies.tuned`.
    """
    return _raises(
        "With equal tuning budgets Adam from He's weights beats Gravity from Glorot's.",
        "Tuned Adam from He's weights ends {} tuned Gravity from Glorot's.",
        found,
        "he adam",
        "glorot gravity",
        "evidence/tuning.ipynb",
        "fig-tuned",
    )


def evidence(store: RunStore) -> dict[str, dict[str, list[Run]]]:
    """Return the runs that the summary rests on, by study and condition."""
    grids = {
        "parts": studies.parts(),
        "plateau": studies.plateau(),
        "width_map": studies.width_map(),
        "tuned": studies.tuned(store),
    }
    return {name: studies.find(study, store) for name, study in grids.items()}


def summary(found: Mapping[str, Runs]) -> list[Finding]:
    """Return the five findings.

    Args:
        found: what `evidence` returns.
    """
    return [
        nearly_linear(found["parts"]),
        push(found["parts"]),
        initial_weights(found["plateau"]),
        width_exponent(found["width_map"]),
        equal_budgets(found["tuned"]),
    ]
