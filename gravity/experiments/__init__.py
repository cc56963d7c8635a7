"""What one training run is, and how it is made and kept.

These names stay; modules may move. Importing this package loads nothing else.

- `Experiment` describes one run, `grid` makes those of a pair of dataset and network.
- `train` and `train_all` return runs, training those that aren't stored.
- `RunStore` is the folder that runs are kept in.
- `load` returns a dataset.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gravity.experiments.datasets import load
    from gravity.experiments.experiment import Experiment, grid
    from gravity.experiments.runs import RunStore
    from gravity.experiments.training import train, train_all

__all__ = ["Experiment", "RunStore", "grid", "load", "train", "train_all"]

_MODULES = {
    "Experiment": "experiment",
    "grid": "experiment",
    "RunStore": "runs",
    "train": "training",
    "train_all": "training",
    "load": "datasets",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
