"""What the studies found: five sentences, each with a number and its interval.

All of it is computed from stored runs; where runs are missing, a finding says so.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from gravity.evidence import studies
from gravity.evidence.rules import SIMILAR_POINTS
from gravity.evidence.statistics import FEWEST_SEEDS, RESAMPLES, difference, signed
from gravity.evidence.verdicts import Answer
from gravity.experiments.runs import Run, RunStore

Condition = TypeVar("Condition")

Runs = Mapping[Condition, Sequence[Run]]
"""Runs by condition, as `gravity.evidence.studies.find` returns them."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One result of the evidence; undecided unless the last four are given.

    Attributes:
        hypothesis: what was to be decided, as a sentence.
        result: the sentence that says what was found, with `{}` for the numbers.
        figure: the label of the figure that shows it.
        unit: of the numbers; empty for an exponent. Defaults to points of the final
            test accuracy, by which one condition ends above another.
        answer: supported, not supported or, by default, can't tell.
        estimate: the number that was found. Defaults to NaN, as the next two.
        low: lower end of the number's 95 % confidence interval.
        high: its upper end.
    """

    hypothesis: str
    result: str
    figure: str
    unit: str = "points"
    answer: Answer = Answer.CANT_TELL
    estimate: float = math.nan
    low: float = math.nan
    high: float = math.nan

    @property
    def sentence(self) -> str:
        """What was found, or that runs are missing."""
        if math.isnan(self.low):
            return f"Some condition has fewer than {FEWEST_SEEDS} seeds stored."
        if not self.unit:
            low, high = signed(self.low, 2), signed(self.high, 2)
            return self.result.format(f"{signed(self.estimate, 2)} ({low} to {high})")
        return self.result.format(
            f"{abs(self.estimate):.1f} points of test accuracy ({signed(self.low)} to "
            f"{signed(self.high)}) {'below' if self.estimate < 0 else 'above'}"
        )


NEARLY_LINEAR = Finding(
    hypothesis="The bound on the step and the rising moving average change little: "
    "without both, and with a push of the same size, the final test accuracy is within "
    f"{SIMILAR_POINTS:g} points.",
    result="Without the bound on the step, with a constant moving average and a push "
    "of the same size, Gravity ends {} where it ends as it is.",
    figure="fig-parts",
)

PUSH = Finding(
    hypothesis="Gravity trains a plain VGG16 by the push of its initial velocity: "
    "without it the final test accuracy is lower.",
    result="With its push Gravity ends {} where it ends without.",
    figure="fig-parts",
)

INITIAL_WEIGHTS = Finding(
    hypothesis="What the push does for Gravity on a deep plain network it does for "
    "others: with its noise on the initial weights, Adam ends higher.",
    result="With the noise of Gravity's push on its initial weights Adam ends {} where "
    "it ends without.",
    figure="fig-plateau",
)

WIDTH_EXPONENT = Finding(
    hypothesis="The best α goes with 1 / √width: the exponent is −1/2.",
    result="The best α goes with the width to the power {}.",
    figure="fig-width",
    unit="",
)

EQUAL_BUDGETS = Finding(
    hypothesis="With equal tuning budgets Adam from He's weights beats Gravity from "
    "Glorot's.",
    result="Tuned Adam from He's weights ends {} tuned Gravity from Glorot's.",
    figure="fig-tuned",
)


def _complete(found: Runs[Condition], names: Sequence[Condition]) -> bool:
    return all(len(found.get(name, ())) >= FEWEST_SEEDS for name in names)


def _differ(
    undecided: Finding, found: Runs[Condition], one: Condition, other: Condition
) -> Finding:
    """Fill in by how many points one condition ends above another."""
    compared = difference(found[one], found[other])
    return replace(
        undecided,
        estimate=100 * compared.mean,
        low=100 * compared.low,
        high=100 * compared.high,
    )


def nearly_linear(found: Runs[str]) -> Finding:
    """Whether Gravity without its bound and its rising average does as well.

    Args:
        found: the runs of `gravity.evidence.studies.parts`.
    """
    pair = ("neither, same push", "Gravity")
    if not _complete(found, pair):
        return NEARLY_LINEAR
    finding = _differ(NEARLY_LINEAR, found, *pair)
    if -SIMILAR_POINTS < finding.low <= finding.high < SIMILAR_POINTS:
        return replace(finding, answer=Answer.SUPPORTED)
    if finding.low > SIMILAR_POINTS or finding.high < -SIMILAR_POINTS:
        return replace(finding, answer=Answer.NOT_SUPPORTED)
    return finding


def _raises(
    undecided: Finding, found: Runs[Condition], one: Condition, other: Condition
) -> Finding:
    """Decide by one condition's accuracy being above another's."""
    if not _complete(found, (one, other)):
        return undecided
    finding = _differ(undecided, found, one, other)
    if finding.low > 0:
        return replace(finding, answer=Answer.SUPPORTED)
    if finding.high <= 0:
        return replace(finding, answer=Answer.NOT_SUPPORTED)
    return finding


def push(found: Runs[str]) -> Finding:
    """Whether the push of the initial velocity is what trains a plain VGG16.

    Args:
        found: the runs of `gravity.evidence.studies.parts`.
    """
    return _raises(PUSH, found, "Gravity", "no push")


def initial_weights(found: Runs[tuple[str, str]]) -> Finding:
    """Whether other optimizers train as well from weights with Gravity's noise.

    Args:
        found: the runs of `gravity.evidence.studies.plateau`.
    """
    return _raises(
        INITIAL_WEIGHTS, found, ("Adam", "Glorot + noise"), ("Adam", "Glorot")
    )


def best_alphas(
    found: Runs[tuple[float, float]], seeds: Sequence[int] | None = None
) -> dict[float, float]:
    """Return for each width the α with the smallest mean final training loss.

    Args:
        found: the runs of `gravity.evidence.studies.width_map`. A loss that is no
            number counts as infinite.
        seeds: the seeds to average over; one that is there twice counts twice.
            Defaults to all.
    """
    best: dict[float, tuple[float, float]] = {}
    for (width, alpha), group in found.items():
        if not group:
            continue
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


def width_exponent(found: Runs[tuple[float, float]]) -> Finding:
    """By which power of the width the best α goes.

    The interval draws seeds again, the same for all cells, and is widened by what half
    a step of the grid of α changes at one end of the widths: the best α lies somewhere
    around the best one of the grid. A width of which a cell has too few seeds doesn't
    count.

    Args:
        found: the runs of `gravity.evidence.studies.width_map`.
    """
    cells: dict[float, list[tuple[float, float]]] = {}
    for width, alpha in found:
        cells.setdefault(width, []).append((width, alpha))
    widths = [width for width, row in cells.items() if _complete(found, row)]
    if len(widths) < 3:
        return WIDTH_EXPONENT
    found = {cell: found[cell] for width in widths for cell in cells[width]}
    seeds = sorted({run.experiment.seed for group in found.values() for run in group})
    stream = np.random.default_rng(0)
    drawn = [
        _exponent(best_alphas(found, list(stream.choice(seeds, len(seeds)))))
        for _ in range(RESAMPLES // 9)
    ]
    alphas = sorted({alpha for _, alpha in found})
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
    return replace(WIDTH_EXPONENT, answer=answer, estimate=estimate, low=low, high=high)


def equal_budgets(found: Runs[tuple[str, str]]) -> Finding:
    """Whether tuned Gravity is behind tuned Adam that starts from He's weights.

    Args:
        found: the runs of `gravity.evidence.studies.tuned`.
    """
    return _raises(EQUAL_BUDGETS, found, ("he", "adam"), ("glorot", "gravity"))


def evidence(store: RunStore) -> dict[str, dict[Any, list[Run]]]:
    """Return the runs that the summary rests on, by study and condition."""
    grids: dict[str, studies.Study[Any]] = {
        "parts": studies.parts(),
        "plateau": studies.plateau(),
        "width_map": studies.width_map(),
        "tuned": studies.tuned(store),
    }
    return {name: studies.find(study, store) for name, study in grids.items()}


def summary(found: Mapping[str, Runs[Any]]) -> list[Finding]:
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
