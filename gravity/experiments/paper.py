"""The settings that the paper gives for its 30 runs (section 3.3 and Table 5).

Table 3, the sizes of its datasets, is in `gravity.experiments.datasets.DATASETS`, whose
arrays are checked against it.
"""

from collections.abc import Mapping

from gravity.experiments import checks
from gravity.experiments.optimizers import OPTIMIZERS, Argument

PAPER_OPTIMIZERS = ("gravity", "adam", "rmsprop")
"""Those that the paper compares."""

PAPER_LEARNING_RATES: Mapping[tuple[str, str], Mapping[str, float]] = {
    ("mnist", "vgg16"): {"adam": 2.5e-4, "rmsprop": 1e-4},
    ("mnist", "vgg19"): {"adam": 2.5e-4, "rmsprop": 2.5e-5},
    ("fashion_mnist", "vgg16"): {"adam": 2.5e-4, "rmsprop": 5e-5},
    ("fashion_mnist", "vgg19"): {"adam": 1e-5, "rmsprop": 5e-5},
    ("cifar10", "vgg16"): {"adam": 1e-4, "rmsprop": 5e-5},
    ("cifar10", "vgg19"): {"adam": 1e-4, "rmsprop": 2.5e-5},
    ("cifar100_coarse", "vgg16"): {"adam": 1e-4, "rmsprop": 2.5e-4},
    ("cifar100_coarse", "vgg19"): {"adam": 7.5e-5, "rmsprop": 1e-4},
    ("cifar100_fine", "vgg16"): {"adam": 1e-4, "rmsprop": 1e-4},
    ("cifar100_fine", "vgg19"): {"adam": 5e-5, "rmsprop": 1e-4},
}
"""Table 5: the learning rates of each pair of dataset and architecture."""


def paper_arguments(
    dataset: str, architecture: str, optimizer: str
) -> dict[str, Argument]:
    """Return the arguments that section 3.3 and Table 5 give for one run.

    A dataset that the paper doesn't have takes the defaults of `OPTIMIZERS`.

    Args:
        dataset: a key of `gravity.experiments.datasets.DATASETS`.
        architecture: one of `gravity.experiments.models.ARCHITECTURES`.
        optimizer: a key of `OPTIMIZERS`.

    Raises:
        ValueError: there is no such optimizer.
    """
    checks.choice("optimizer", optimizer, OPTIMIZERS)
    arguments = dict(OPTIMIZERS[optimizer].defaults)
    rates = PAPER_LEARNING_RATES.get((dataset, architecture), {})
    if optimizer in rates:
        arguments["learning_rate"] = rates[optimizer]
    return arguments
