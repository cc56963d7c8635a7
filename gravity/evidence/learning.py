"""Whether a run learned anything, and which of several learned best."""

import math
from collections.abc import Sequence

from gravity.experiments import datasets
from gravity.experiments.runs import Run, in_order


def plateau(dataset: str) -> float:
    """Return the loss below which a network has left guessing behind, 0.9 ln C.

    Args:
        dataset: a key of `gravity.experiments.datasets.DATASETS`, with C classes.
    """
    return 0.9 * math.log(datasets.DATASETS[dataset].classes)


def plateau_left(run: Run) -> int | None:
    """Return the first epoch whose training loss is below `plateau`, if any."""
    threshold = plateau(run.experiment.dataset)
    for epoch, loss in enumerate(run.history["loss"], start=1):
        if loss < threshold:
            return epoch
    return None


def best_runs(runs: Sequence[Run]) -> dict[str, Run]:
    """Return for each optimizer the run with the smallest last training loss.

    A run that diverged is the last choice, and of equal ones the first in order wins.
    """
    best: dict[str, Run] = {}
    for run in sorted(in_order(runs), key=_last_loss):
        best.setdefault(run.experiment.optimizer, run)
    return best


def _last_loss(run: Run) -> float:
    loss = run.history["loss"][-1]
    return math.inf if math.isnan(loss) else loss
