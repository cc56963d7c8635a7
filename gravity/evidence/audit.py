"""What the authors' archives say of their runs, set beside what the paper states."""

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import ArrayLike

from gravity.evidence.published import Key, Published
from gravity.experiments.datasets import DATASETS
from gravity.experiments.experiment import Experiment
from gravity.experiments.paper import paper_arguments

DECIMALS = 4
"""To which the authors' program rounded some of the values that it stored."""


class Match(enum.StrEnum):
    """How what is stored compares with what is stated."""

    AGREES = "agrees"
    ROUNDED = "agrees when rounded"
    DIFFERS = "differs"
    NOT_STORED = "not stored"


@dataclass(frozen=True)
class Check:
    """One setting of one run, as the paper states it and as it is stored.

    Attributes:
        run: dataset, architecture and optimizer.
        setting: what is compared.
        stated: what sections 3.2 and 3.3 and Table 5 say.
        stored: what was published beside the history, `None` if nothing was.
    """

    run: Key
    setting: str
    stated: float | str
    stored: float | str | None

    @property
    def answer(self) -> Match:
        """How the two compare."""
        if self.stored is None:
            return Match.NOT_STORED
        if self.stored == self.stated:
            return Match.AGREES
        if isinstance(self.stated, float) and not isinstance(self.stored, str):
            # A half may have been rounded either way.
            error = abs(self.stored - self.stated) * 10**DECIMALS
            if round(self.stored, DECIMALS) == self.stored and error < 0.5 + 1e-9:
                return Match.ROUNDED
        return Match.DIFFERS


def checks(run: Published) -> list[Check]:
    """Compare one of the authors' runs with what the paper states about it.

    The settings are the dataset's name, the number of epochs, the outputs of the last
    layer and each argument of the optimizer.
    """
    key = run.key
    spec = DATASETS[run.dataset]
    title = _plain(spec.real_title)
    found = [
        Check(key, "dataset", title, _plain(run.declared_dataset) or None),
        Check(key, "epochs", Experiment.epochs, run.epochs),
        Check(key, "outputs", spec.classes, run.output_units),
    ]
    for name, stated in paper_arguments(*key).items():
        # The number of the first update is this book's name for a choice.
        if name != "first_step":
            found.append(Check(key, name, stated, run.settings.get(name)))
    return found


def _plain(title: str) -> str:
    """A dataset's name without the spaces, dashes and capitals that differ."""
    return title.replace("-", "").replace(" ", "").lower()


def counted(accuracies: ArrayLike, most: int = 100_000) -> int | None:
    """Return of how many images several accuracies are shares.

    An accuracy is a number of images, divided by the number of all. So it gives the
    number of all away, to anybody with enough of its digits.

    Args:
        accuracies: as fractions in single precision, of one set of images; the more
            different ones, the surer.
        most: the largest number that is tried. Defaults to 100,000.

    Returns:
        The smallest number that makes all of them whole numbers of images, within
        single precision; `None` if there is none.
    """
    values = np.unique(np.asarray(accuracies, dtype=float))
    # Single precision leaves an error of 2⁻²⁴ of each value at most.
    sizes = np.arange(1, most + 1)
    for value in values:
        images = value * sizes
        error = np.abs(images - np.round(images))
        sizes = sizes[error <= np.maximum(images, 1) * 2.0**-23]
    return int(sizes[0]) if len(sizes) else None


def stored_at(run: Published) -> datetime:
    """Return the date and time in the name of a run's archive."""
    stem = run.path.removesuffix(".zip")
    return datetime.strptime(stem[-15:], "%Y%m%d_%H%M%S")


def misfits(runs: Iterable[Published]) -> list[Published]:
    """Return the runs whose network has other outputs than the dataset has classes."""
    return [
        run
        for run in runs
        if run.output_units not in (None, DATASETS[run.dataset].classes)
    ]


def first_loss_share(run: Published, classes: int | None = None) -> float:
    """Return the training loss of a run's first epoch as a share of ln C.

    ln C is the loss of guessing among C classes. In its first epoch a network starts
    there and learns a little, so that the share is below 1, and nearer to it the harder
    the data are.

    Args:
        run: one of the authors' runs.
        classes: C. Defaults to the number of classes of the run's dataset.
    """
    classes = classes or DATASETS[run.dataset].classes
    return run.history["loss"][0] / float(np.log(classes))


def selection_gain(values: Sequence[float]) -> float:
    """Return by how much the best epoch is better than the last, for an accuracy."""
    return max(values) - values[-1]
