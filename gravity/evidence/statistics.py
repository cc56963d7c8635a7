"""Statistics over seeds: differences, means, profiles, tries, and how many seeds.

Within a cell, one setting (a dataset and a network) in which several optimizers have
the same seeds, they are compared in pairs: `compare` and `difference`. The functions
after them sum up many runs: over cells, over targets, over tries.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

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
        `gravity.experiments.optimizers.OPTIMIZERS`.
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


@dataclass(frozen=True)
class Interval:
    """An estimate with the ends of its confidence interval.

    Attributes:
        estimate: from all the data.
        low: the lower end.
        high: the upper end.
    """

    estimate: float
    low: float
    high: float


def interquartile_mean(scores: ArrayLike) -> float:
    """Return the mean of the middle half of all scores.

    A quarter of the scores, rounded down, is cut off at either end. So it is moved less
    than the mean by a run that failed, and less than the median by which runs happen to
    lie in the middle.

    Args:
        scores: finite numbers, of any shape; at least one.

    Raises:
        ValueError: a score isn't finite, or there is none.

    References:
        Agarwal et al., "Deep reinforcement learning at the edge of the statistical
        precipice" (2021).
    """
    from scipy import stats

    values = np.asarray(scores, dtype=float).ravel()
    if not values.size or not np.isfinite(values).all():
        raise ValueError(
            "Argument `scores` must hold finite numbers, at least one. "
            f"Received: scores={scores!r}"
        )
    return float(stats.trim_mean(values, 0.25))


def interquartile_interval(scores: ArrayLike) -> Interval:
    """Return the interquartile mean over all cells and seeds, with its 95 % interval.

    The bootstrap draws seeds again within each cell and keeps the cells, so the
    interval says what other seeds would change, and nothing about other cells. Its ends
    are the percentiles of 9,999 such draws.

    Args:
        scores: of shape `(cells, seeds)`, with at least five seeds; on a scale that
            means the same in all cells.

    Raises:
        ValueError: as `interquartile_mean`, or there are fewer than five seeds, or
            `scores` isn't of that shape.
    """
    from scipy import stats

    values = np.asarray(scores, dtype=float)
    if values.ndim != 2 or values.shape[1] < FEWEST_SEEDS:
        raise ValueError(
            "Argument `scores` must be of shape (cells, seeds) with at least "
            f"{FEWEST_SEEDS} seeds: fewer say too little for an interval. "
            f"Received: shape {values.shape}"
        )
    estimate = interquartile_mean(values)

    def of_draws(*cells: NDArray[Any], axis: int = -1) -> NDArray[Any]:
        middle: NDArray[Any] = stats.trim_mean(
            np.concatenate(cells, axis=axis), 0.25, axis=axis
        )
        return middle

    found = stats.bootstrap(
        tuple(values),
        of_draws,
        n_resamples=RESAMPLES,
        method="percentile",
        vectorized=True,
        random_state=0,
    ).confidence_interval
    return Interval(estimate, float(found.low), float(found.high))


def performance_profile(
    costs: Mapping[str, ArrayLike], factors: ArrayLike
) -> dict[str, NDArray[Any]]:
    """Return in which share of the cells each optimizer is nearly the best.

    For each cell a cost is divided by the smallest that any optimizer has there. The
    profile of an optimizer at τ is the share of cells in which this ratio is at most τ:
    at τ = 1 the share in which it is the best, for large τ the share in which it gets
    there at all.

    Args:
        costs: for each optimizer a cost for each cell, such as the number of epochs
            until a target; positive, infinite for a miss.
        factors: the values of τ, of shape `(factors,)`, at least 1.

    Returns:
        For each optimizer the shares, of shape `(factors,)`. A cell that everybody
        misses counts as a miss for all.

    Raises:
        ValueError: the optimizers have not the same number of cells, a cost isn't
            positive, or a factor is below 1.

    References:
        Dolan and Moré, "Benchmarking optimization software with performance profiles"
        (2002).
    """
    table = [np.atleast_1d(np.asarray(each, dtype=float)) for each in costs.values()]
    if len({each.shape for each in table}) != 1 or not all(
        each.size and (each > 0).all() for each in table
    ):
        raise ValueError(
            "Argument `costs` must hold as many positive numbers for each optimizer, "
            f"one a cell. Received: costs={costs!r}"
        )
    tau = np.atleast_1d(np.asarray(factors, dtype=float))
    if not (tau >= 1).all():
        raise ValueError(
            "Argument `factors` must hold numbers of at least 1. "
            f"Received: factors={factors!r}"
        )
    best = np.min(table, axis=0)
    return {
        name: np.mean(np.isfinite(each) & (each <= tau[:, None] * best), axis=1)
        for name, each in zip(costs, table, strict=True)
    }


def expected_best(losses: ArrayLike) -> NDArray[Any]:
    """Return the loss that the best of 1, 2, … tries is expected to have.

    The tries are drawn at random, without repetition, from those that were made. This
    sums up how sensitive an optimizer is: one that works with nearly any argument has a
    good value after one try, one that needs tuning falls slowly.

    Args:
        losses: of the tries, of shape `(tries,)`; infinite for one that diverged.

    Returns:
        The expectation for each budget from one to all tries, of shape `(tries,)`;
        infinite where a draw may hold diverged tries only.

    Raises:
        ValueError: there is no try, or a loss is NaN.

    References:
        Dodge et al., "Show your work: improved reporting of experimental results"
        (2019), with the unbiased estimate of Tang et al. (2020).
    """
    values = np.sort(np.asarray(losses, dtype=float).ravel())
    if not values.size or np.isnan(values).any():
        raise ValueError(
            "Argument `losses` must hold at least one number and no NaN. "
            f"Received: losses={losses!r}"
        )
    count = len(values)
    expected = []
    for budget in range(1, count + 1):
        # The draws whose smallest is the one at `rank`: all others come from above it.
        shares = [
            math.comb(count - 1 - rank, budget - 1) / math.comb(count, budget)
            for rank in range(count)
        ]
        expected.append(
            sum(
                share * value
                for share, value in zip(shares, values, strict=True)
                if share
            )
        )
    return np.array(expected)


def power(
    difference: float, deviation: float, seeds: int, significance: float = 0.05
) -> float:
    """Return how likely a paired comparison is to notice a difference.

    It is the power of the paired t-test, two-sided, for differences with a normal
    distribution: t has a noncentral t-distribution, so t² has a noncentral
    F-distribution, which SciPy has for large noncentralities too.

    Args:
        difference: the true mean difference, in any unit.
        deviation: the standard deviation of the differences between runs of the same
            seed, in that unit; positive.
        seeds: number of pairs, at least 2.
        significance: the p-value below which a difference counts as noticed. Defaults
            to 5 %.

    Raises:
        ValueError: an argument isn't as said above.
    """
    from scipy import stats

    _positive("deviation", deviation)
    if seeds < 2:
        raise ValueError(
            f"Argument `seeds` must be at least 2. Received: seeds={seeds!r}"
        )
    if not 0 < significance < 1:
        raise ValueError(
            "Argument `significance` must lie between 0 and 1. "
            f"Received: significance={significance!r}"
        )
    # SciPy's noncentral F is wrong at a noncentrality of 0, where the level is exact.
    if difference == 0:
        return significance
    freedom = seeds - 1
    noncentrality = (difference / deviation) ** 2 * seeds
    bound = stats.f.ppf(1 - significance, 1, freedom)
    return float(stats.ncf.sf(bound, 1, freedom, noncentrality))


def seeds_needed(
    difference: float,
    deviation: float,
    wanted: float = 0.8,
    significance: float = 0.05,
) -> int:
    """Return the smallest number of seeds with at least the wanted `power`.

    Args:
        difference, deviation, significance: as in `power`; the difference isn't 0.
        wanted: the power. Defaults to 80 %.

    Raises:
        ValueError: as `power`, or no number of seeds up to a million suffices.
    """
    _positive("difference", abs(difference))
    if not significance < wanted < 1:
        raise ValueError(
            "Argument `wanted` must lie between `significance` and 1. "
            f"Received: wanted={wanted!r}"
        )
    least, enough = 1, 2
    while power(difference, deviation, enough, significance) < wanted:
        least, enough = enough, 2 * enough
        if enough > 2**20:
            raise ValueError(
                "Arguments `difference` and `deviation` must be such that a million "
                f"seeds suffice. Received: difference={difference!r}, "
                f"deviation={deviation!r}"
            )
    while enough - least > 1:
        middle = (least + enough) // 2
        if power(difference, deviation, middle, significance) < wanted:
            least = middle
        else:
            enough = middle
    return enough


def deviation_interval(differences: ArrayLike) -> Interval:
    """Return the standard deviation of paired differences, with its 95 % interval.

    The interval is the one from the χ²-distribution, for normal differences. With few
    seeds it is wide, and with it every plan for more seeds.

    Args:
        differences: of shape `(seeds,)`, at least five.

    Raises:
        ValueError: there are fewer than five differences, or one isn't finite.
    """
    from scipy import stats

    values = np.asarray(differences, dtype=float).ravel()
    if len(values) < FEWEST_SEEDS or not np.isfinite(values).all():
        raise ValueError(
            f"Argument `differences` must hold at least {FEWEST_SEEDS} finite numbers: "
            f"fewer say too little for an interval. Received: {values.tolist()}"
        )
    freedom = len(values) - 1
    deviation = float(values.std(ddof=1))
    low, high = (
        deviation * math.sqrt(freedom / stats.chi2.ppf(share, freedom))
        for share in (0.975, 0.025)
    )
    return Interval(deviation, low, high)


def _positive(name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise ValueError(
            f"Argument `{name}` must be a positive finite number. "
            f"Received: {name}={value!r}"
        )
