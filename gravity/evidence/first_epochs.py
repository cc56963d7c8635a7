"""Our first epochs at the paper's scale, beside the first epochs of the authors.

The rule and its margins are registered in `book/registered.yaml`, under `first_epochs`.
"""

import enum
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gravity.evidence.published import Key, Published
from gravity.experiments.datasets import DATASETS, OFFICIAL
from gravity.experiments.experiment import Experiment, grid
from gravity.experiments.paper import PAPER_LEARNING_RATES, PAPER_OPTIMIZERS
from gravity.experiments.runs import Run

LOSS_SHARE = 0.1
"""Two training losses agree if their shares of ln C differ by no more than this."""

ACCURACY_RATIO = 1.5
"""Two test accuracies agree if neither is more than this many times the other."""

MISLABELLED: Key = ("cifar100_fine", "vgg19", "gravity")
"""The authors' run whose network had other outputs than its dataset has classes; it is
shown, and counts for neither side."""


class Agreement(enum.StrEnum):
    """What can be said of all runs together."""

    AGREE = "agree"
    IN_PART = "agree in part"
    DISAGREE = "disagree"


@dataclass(frozen=True)
class Pair:
    """One of our first epochs and one of the authors'.

    Attributes:
        key: dataset, architecture and optimizer of our run.
        other: the optimizer of the authors' run, the same one but in the control.
        loss: our training loss of the first epoch, and theirs, as shares of ln C.
        accuracy: our test accuracy after it, and theirs, as fractions.
    """

    key: Key
    other: str
    loss: tuple[float, float]
    accuracy: tuple[float, float]

    @property
    def agrees(self) -> bool:
        """Whether both measures lie within the registered margins."""
        low, high = sorted(self.accuracy)
        return (
            abs(self.loss[0] - self.loss[1]) <= LOSS_SHARE
            and high <= ACCURACY_RATIO * low
        )

    @property
    def counts(self) -> bool:
        """Whether it takes part in the verdict on all runs."""
        return self.key != MISLABELLED


def experiments() -> list[Experiment]:
    """Return the first epoch of each of the paper's 30 runs."""
    return [
        experiment
        for dataset, architecture in PAPER_LEARNING_RATES
        for experiment in grid(dataset, architecture, epochs=1, data=OFFICIAL)
    ]


def pairs(runs: Iterable[Run], authors: Mapping[Key, Published]) -> list[Pair]:
    """Return each of our runs with the authors' run of the same setting.

    Args:
        runs: ours, of `experiments`.
        authors: all of theirs.
    """
    return [_pair(run, run.experiment.optimizer, authors) for run in runs]


def wrong_pairs(runs: Iterable[Run], authors: Mapping[Key, Published]) -> list[Pair]:
    """Return each of our runs with the authors' of the pair's other optimizers.

    It is the control: what share of these agrees tells how easily the rule is met.

    Args:
        runs, authors: as in `pairs`.
    """
    return [
        _pair(run, other, authors)
        for run in runs
        for other in PAPER_OPTIMIZERS
        if other != run.experiment.optimizer
        and (run.experiment.dataset, run.experiment.architecture, other) != MISLABELLED
    ]


def _pair(run: Run, other: str, authors: Mapping[Key, Published]) -> Pair:
    one = run.experiment
    theirs = authors[one.dataset, one.architecture, other].history
    guessing = math.log(DATASETS[one.dataset].classes)
    return Pair(
        (one.dataset, one.architecture, one.optimizer),
        other,
        (run.history["loss"][0] / guessing, theirs["loss"][0] / guessing),
        (run.history["val_accuracy"][0], theirs["val_accuracy"][0]),
    )


def agreeing(found: Sequence[Pair]) -> tuple[int, int]:
    """Return how many pairs agree, and how many count."""
    counted = [pair for pair in found if pair.counts]
    return sum(pair.agrees for pair in counted), len(counted)


def verdict(found: Sequence[Pair]) -> Agreement:
    """Return what the registered rule says of all runs together.

    Raises:
        ValueError: there is no run to judge.
    """
    number, count = agreeing(found)
    if not count:
        raise ValueError(
            "Argument `found` must hold at least one pair that counts. "
            f"Received: found={found!r}"
        )
    # In whole numbers, so that exactly 80 % is 80 %.
    if 100 * number >= 80 * count:
        return Agreement.AGREE
    return Agreement.DISAGREE if 100 * number <= 50 * count else Agreement.IN_PART


LOSS_RATIO = 1.1
"""Registered under `output_units`: by this factor the losses of our runs on coarse
labels are widened before the authors' are looked for between them."""


@dataclass(frozen=True)
class Labels:
    """Which labels the authors' mislabelled run follows, by its first losses.

    Attributes:
        published: its training losses, one an epoch.
        coarse: the least and the largest of ours on coarse labels, for each epoch.
        fine: ours on fine labels in the first epoch.
    """

    published: Sequence[float]
    coarse: Sequence[tuple[float, float]]
    fine: float

    @property
    def ratios(self) -> tuple[float, float]:
        """By what factor the first loss is from ours on coarse and on fine labels."""
        low, high = self.coarse[0]
        middle = math.sqrt(low * high)
        return _factor(self.published[0], middle), _factor(self.published[0], self.fine)

    @property
    def follows_coarse(self) -> bool:
        """Whether the first loss is nearer to ours on coarse than on fine labels."""
        coarse, fine = self.ratios
        return coarse < fine

    @property
    def closely(self) -> bool:
        """Whether each loss lies between ours on coarse labels, widened."""
        return all(
            low / LOSS_RATIO <= value <= high * LOSS_RATIO
            for value, (low, high) in zip(self.published, self.coarse, strict=True)
        )


def _factor(one: float, other: float) -> float:
    return max(one / other, other / one)


def labels_experiments() -> tuple[list[Experiment], list[Experiment]]:
    """Return the registered runs on coarse labels, and that on fine labels."""
    coarse, fine = (
        grid(
            name,
            "vgg19",
            optimizers=["gravity"],
            epochs=epochs,
            seeds=seeds,
            data=OFFICIAL,
        )
        for name, epochs, seeds in (
            ("cifar100_coarse", 3, (0, 1)),
            ("cifar100_fine", 1, (0,)),
        )
    )
    return coarse, fine


def labels(coarse: Sequence[Run], fine: Run, published: Published) -> Labels:
    """Lay the first losses of the authors' mislabelled run over ours.

    Args:
        coarse: our runs on coarse labels.
        fine: our run on fine labels.
        published: the authors' run `MISLABELLED`.
    """
    epochs = min(run.experiment.epochs for run in coarse)
    losses = [[run.history["loss"][epoch] for run in coarse] for epoch in range(epochs)]
    return Labels(
        published.history["loss"][:epochs],
        [(min(each), max(each)) for each in losses],
        fine.history["loss"][0],
    )
