"""Compares optimizers over several seeds, each seed with itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gravity.experiments.runs import Run, in_order

RESAMPLES = 9999
"""Of the bootstrap."""

FEWEST_SEEDS = 5
"""With fewer the book shows the points and claims nothing, and no function of this
package gives an interval."""


@dataclass(frozen=True)
class Comparison:
    """What sets one optimizer apart from another.

    Attributes:
        optimizer: the other optimizer, a key of
        `gravity.experiments.experiment.OPTIMIZERS`.
        differences: for each seed, in rising order, the value of the one minus the
            value of the other.
        low: lower end of the 95 % confidence interval of the mean difference.
        high: its upper end.
        p: p-value of no difference, two-sided and exact.
        p_adjusted: the same, corrected for the number of comparisons.
    """

    optimizer: str
    differences: NDArray[Any]
    low: float
    high: float
    p: float
    p_adjusted: float

    @property
    def mean(self) -> float:
        """The mean difference."""
        return float(self.differences.mean())


def signed(number: float, digits: int = 1) -> str:
    """Return a number with its sign, as it stands in the book's sentences and tables.

    Args:
        number: a difference.
        digits: after the decimal point. Defaults to 1.

    Returns:
        The number with + or − before it, and without either where it rounds to 0.
    """
    if round(number, digits) == 0:
        return f"{0:.{digits}f}"
    return f"{number:+.{digits}f}".replace("-", "−")


def compare(
    runs: Sequence[Run], optimizer: str = "gravity", metric: str = "val_loss"
) -> list[Comparison]:
    """Compare the last value of a metric between one optimizer and each other one.

    Runs with the same seed share initial weights and the order of the data, so they
    are compared in pairs. The interval is the bias-corrected and accelerated bootstrap
    (BCa) of the mean difference. The p-value counts, among all ways to give the
    differences other signs, those with a mean at least as far out; with n seeds it is
    at least 2 / 2ⁿ. Holm's method corrects it.

    Args:
        runs: for each optimizer one run of each seed, otherwise alike; at least five
            seeds and two optimizers.
        optimizer: the one that the others are compared with. Defaults to Gravity.
        metric: one of `gravity.experiments.runs.METRICS`. Defaults to the test loss.

    Returns:
        A comparison for each other optimizer, in the order of `OPTIMIZERS`.

    Raises:
        ValueError: the runs are not as said above, or a value isn't finite.

    References:
        Efron, "Better bootstrap confidence intervals" (1987). Holm, "A simple
        sequentially rejective multiple test procedure" (1979).
    """
    last: dict[str, dict[int, float]] = {}
    for run in in_order(runs):
        seeds = last.setdefault(run.experiment.optimizer, {})
        if run.experiment.seed in seeds:
            raise ValueError(
                "Argument `runs` must hold one run of each optimizer and seed. "
                f"Received two of {run.experiment.optimizer}, "
                f"seed {run.experiment.seed}"
            )
        seeds[run.experiment.seed] = run.history[metric][-1]
    own = last.pop(optimizer, {})
    values = [value for seeds in (own, *last.values()) for value in seeds.values()]
    if (
        len(own) < FEWEST_SEEDS
        or not last
        or any(seeds.keys() != own.keys() for seeds in last.values())
        or not np.isfinite(values).all()
    ):
        shown = {name: sorted(seeds) for name, seeds in last.items()}
        raise ValueError(
            "Argument `runs` must hold the same seeds, at least "
            f"{FEWEST_SEEDS}, of every optimizer, {optimizer} and others, "
            f"with a finite {metric}. "
            f"Received: {optimizer} with {sorted(own)} and {shown}"
        )
    differences = {
        name: np.array([own[seed] - seeds[seed] for seed in sorted(own)])
        for name, seeds in last.items()
    }
    found = {name: _uncertainty(each) for name, each in differences.items()}
    corrected = holm([p for _, _, p in found.values()])
    return [
        Comparison(name, differences[name], low, high, p, adjusted)
        for (name, (low, high, p)), adjusted in zip(
            found.items(), corrected, strict=True
        )
    ]


def difference(
    one: Sequence[Run], other: Sequence[Run], metric: str = "val_accuracy"
) -> Comparison:
    """Compare the last value of a metric between two conditions, seed by seed.

    Args:
        one: a run of each seed, at least five.
        other: runs of the same seeds under another condition.
        metric: one of `gravity.experiments.runs.METRICS`. Defaults to the test
        accuracy.

    Returns:
        What `compare` would say of the two, with p uncorrected. Where all differences
        are equal, as between runs that all stay on the plateau, the interval has no
        width.

    Raises:
        ValueError: the runs are not as said above, or a value isn't finite.
    """
    values = [
        {run.experiment.seed: run.history[metric][-1] for run in runs}
        for runs in (one, other)
    ]
    seeds = sorted(values[0])
    if (
        len(seeds) < FEWEST_SEEDS
        or values[0].keys() != values[1].keys()
        or len(one) != len(seeds)
        or len(other) != len(seeds)
        or not np.isfinite([list(each.values()) for each in values]).all()
    ):
        raise ValueError(
            f"Arguments `one` and `other` must hold the same seeds, at least "
            f"{FEWEST_SEEDS}, with a finite {metric}. Received: "
            f"one with seeds {seeds} and other with {sorted(values[1])}"
        )
    each = np.array([values[0][seed] - values[1][seed] for seed in seeds])
    low, high, p = _uncertainty(each)
    return Comparison(other[0].experiment.optimizer, each, low, high, p, p)


def _uncertainty(differences: NDArray[Any]) -> tuple[float, float, float]:
    """Return the ends of the interval of the mean, and the p-value of none."""
    from scipy import stats

    p = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=np.inf
    ).pvalue
    if np.ptp(differences) == 0:
        return float(differences[0]), float(differences[0]), float(p)
    low, high = stats.bootstrap(
        (differences,), np.mean, n_resamples=RESAMPLES, method="BCa", random_state=0
    ).confidence_interval
    return float(low), float(high), float(p)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number by Holm's method, in their order."""
    corrected = [0.0] * len(p_values)
    least = 0.0
    for rank, place in enumerate(np.argsort(p_values, kind="stable")):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = least
    return corrected
