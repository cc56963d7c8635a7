"""The grids of training runs that the evidence of the book rests on.

Each function returns the experiments of one study, grouped by condition; with the
defaults those that `book/results` holds. `STUDIES` has all of them by name.
"""

import contextlib
import csv
import io
import math
import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from gravity.experiments import models
from gravity.experiments.datasets import DATASETS
from gravity.experiments.experiment import Experiment, grid
from gravity.experiments.optimizers import Argument
from gravity.experiments.runs import Run, RunStore, write_durably
from gravity.initialization import PUSH, suggest_alpha

Condition = TypeVar("Condition", bound=Hashable)

Study = dict[Condition, list[Experiment]]
"""Experiments by condition, one for each seed, in the order of the seeds."""

# What most studies have in common.
_SCALE: Mapping[str, Any] = {
    "width": 0.125,
    "batch_size": 16,
    "seeds": (0, 1, 2, 3, 4),
}

# What sets a condition apart: the optimizer, its arguments, and anything else that
# `Experiment` takes.
_Setting = tuple[str, Mapping[str, Argument], Mapping[str, Any]]


def _study(
    conditions: Mapping[Condition, _Setting],
    dataset: str,
    architecture: str,
    **scale: Any,
) -> Study[Condition]:
    """Return the experiments of conditions that share everything else."""
    return {
        name: grid(
            dataset,
            architecture,
            optimizers=[optimizer],
            arguments={optimizer: arguments},
            **{**_SCALE, **scale, **changes},
        )
        for name, (optimizer, arguments, changes) in conditions.items()
    }


def plateau(
    dataset: str = "digits",
    architecture: str = "vgg19",
    *,
    alpha: float = 0.04,
    **scale: Any,
) -> Study[tuple[str, str]]:
    """Return every optimizer from three kinds of initial weights.

    They are Glorot's, Glorot's with the noise of Gravity's own push, and He's. Gravity
    itself, with its push, starts from Glorot's and from He's; without the push
    (α = 0) from all three, as do gradient descent with momentum, Adam and RMSprop. A
    condition is an optimizer with its weights, as a reader would name them.

    Args:
        dataset, architecture: as in `grid`.
        alpha: Gravity's α; the noise has a standard deviation of
            `gravity.initialization.PUSH` times α.
        scale: what else `grid` takes for all of them. Defaults to an eighth of the
            paper's width, 25 epochs, batches of 16 and the seeds 0 to 4.
    """
    starts: dict[str, dict[str, Any]] = {
        "Glorot": {},
        "Glorot + noise": {"weight_noise": PUSH * alpha},
        "He": {"initial_weights": "he"},
    }
    optimizers: dict[str, tuple[str, dict[str, Argument]]] = {
        "Gravity": ("gravity", {"alpha": alpha}),
        "Gravity, α = 0": ("gravity", {"alpha": 0.0}),
        "SGD with momentum": ("sgd", {"learning_rate": 0.01, "momentum": 0.9}),
        # What the settings study chose for VGG16.
        "Adam": ("adam", {"learning_rate": 2.5e-4}),
        "RMSprop": ("rmsprop", {"learning_rate": 1.8e-4}),
    }
    conditions: dict[tuple[str, str], _Setting] = {
        (title, start): (optimizer, arguments, changes)
        for title, (optimizer, arguments) in optimizers.items()
        for start, changes in starts.items()
        if (title, start) != ("Gravity", "Glorot + noise")
    }
    return _study(conditions, dataset, architecture, **{"epochs": 25, **scale})


def parts(
    dataset: str = "digits",
    architecture: str = "vgg16",
    *,
    alpha: float = 0.028,
    **scale: Any,
) -> Study[str]:
    """Return Gravity, Gravity with a part exchanged, and gradient descent.

    The parts are the bound on the step and the rising parameter of the moving average.
    With a constant one the same initial velocity moves the weights β / (1 - β) = 9
    times α in all and not 1.92 times; the conditions named `same push` have an α that
    makes up for that.

    Gradient descent has the learning rate l (1 - β) and the momentum β, which Gravity
    would equal but for the two parts and its push. It starts from Glorot's weights and
    from Glorot's weights with the noise of the push.

    Args:
        dataset, architecture: as in `grid`.
        alpha: Gravity's α.
        scale: as in `plateau`, but for 15 epochs.
    """
    descent = {"learning_rate": 0.01, "momentum": 0.9}
    own: dict[str, Argument] = {"alpha": alpha}
    linear = {"bound": "none", "average": "constant"}
    same: dict[str, Argument] = {"alpha": round(alpha * PUSH / 9, 4)}
    conditions: dict[str, _Setting] = {
        "Gravity": ("gravity", own, {}),
        "no bound": ("variant", {**own, "bound": "none"}, {}),
        "constant β": ("variant", {**own, "average": "constant"}, {}),
        "constant β, same push": ("variant", {**same, "average": "constant"}, {}),
        "neither": ("variant", {**own, **linear}, {}),
        "neither, same push": ("variant", {**same, **linear}, {}),
        "no push": ("gravity", {"alpha": 0.0}, {}),
        "SGD": ("sgd", descent, {}),
        "SGD + noise": ("sgd", descent, {"weight_noise": PUSH * alpha}),
    }
    return _study(conditions, dataset, architecture, **{"epochs": 15, **scale})


def parts_fashion() -> Study[str]:
    """Return `parts` on other images: a subset of Fashion-MNIST, twice as wide.

    Without the conditions that have a constant moving average and a larger push.
    """
    study = parts(
        "fashion_mnist",
        width=0.25,
        epochs=4,
        batch_size=32,
        # Generated images, which tests put in the place of the real ones, are fewer.
        train_size=min(10_000, DATASETS["fashion_mnist"].train_size),
        alpha=0.02,
    )
    left_out = ("constant β", "neither")
    return {name: group for name, group in study.items() if name not in left_out}


def advice() -> Study[float]:
    """Return Gravity with the α that `gravity.initialization.suggest_alpha` suggests.

    And with half and twice of it; the conditions are these multiples. The suggested α
    is rounded to three decimals.
    """
    spec = DATASETS["digits"]
    shapes = models.weight_shapes(
        "vgg19", spec.shape[-1], spec.classes, _SCALE["width"]
    )
    alpha = round(suggest_alpha(shapes), 3)
    conditions: dict[float, _Setting] = {
        multiple: ("gravity", {"alpha": round(multiple * alpha, 4)}, {})
        for multiple in (0.5, 1.0, 2.0)
    }
    return _study(conditions, "digits", "vgg19", epochs=25)


def width_map(
    dataset: str = "digits",
    architecture: str = "vgg16",
    *,
    widths: Sequence[float] = (0.0625, 0.125, 0.25, 0.5),
    alphas: Sequence[float] = (0.005, 0.007, 0.01, 0.014, 0.02, 0.028, 0.04, 0.056),
    **scale: Any,
) -> Study[tuple[float, float]]:
    """Return Gravity over a grid of α and width, with one budget for all.

    A condition is a width with an α.

    Args:
        dataset, architecture: as in `grid`.
        widths: multiples of the paper's width.
        alphas: values of α.
        scale: as in `plateau`, but for 8 epochs and these widths.
    """
    conditions: dict[tuple[float, float], _Setting] = {
        (width, alpha): ("gravity", {"alpha": alpha}, {"width": width})
        for width in widths
        for alpha in alphas
    }
    return _study(conditions, dataset, architecture, **{"epochs": 8, **scale})


def bounds(
    dataset: str = "digits",
    architecture: str = "vgg16",
    *,
    alpha: float = 0.028,
    scales: Sequence[float] = (0.1, 1.0, 10.0, 100.0),
    **scale: Any,
) -> Study[tuple[str, float]]:
    """Return Gravity with other bounds, in several units of the loss.

    In each unit the learning rate is measured so that the same step would follow from
    the same gradient, but for the bound. A condition is a bound with a
    scale.

    Args:
        dataset, architecture, alpha: as in `parts`.
        scales: what the gradients are multiplied by.
        scale: as in `plateau`, but for 10 epochs.
    """
    factors = {
        "paper": 1.0,
        "none": 1.0,
        "max": 1.0,
        "rms": 3.0,
        "running_max": 1.0,
        "running_rms": 3.0,
        "clip": 1.0,
    }
    # Free of units: the same at every scale, up to rounding; a test has that.
    free = ("none", "max", "rms", "running_max", "running_rms")
    conditions: dict[tuple[str, float], _Setting] = {
        (bound, unit): (
            "variant",
            {
                "alpha": alpha,
                "bound": bound,
                "factor": factor,
                "gradient_scale": unit,
            },
            {},
        )
        for bound, factor in factors.items()
        for unit in scales
        if bound not in free or unit == 1.0
    }
    return _study(conditions, dataset, architecture, **{"epochs": 10, **scale})


# Half a power of ten apart, but for SGD and Gravity, whose rates go up to the largest
# that doesn't diverge at once.
_TRIES: Mapping[str, Sequence[float]] = {
    "gravity": (0.01, 0.03, 0.1, 0.3, 1.0, 3.0),
    "sgd": (0.001, 0.003, 0.01, 0.03, 0.1, 0.3),
    "adam": (3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2),
    "rmsprop": (3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2),
}


def tuning(
    dataset: str = "digits",
    architecture: str = "vgg16",
    *,
    validation_size: int = 360,
    alpha: float = 0.028,
    starts: Sequence[str] = ("glorot", "he"),
    optimizers: Sequence[str] = ("gravity", "sgd", "adam", "rmsprop"),
    seeds: Sequence[int] = (100, 101),
    **scale: Any,
) -> Study[tuple[str, str, float]]:
    """Return six learning rates of each optimizer, judged on held-out images.

    From Glorot's weights and from He's, with the same budget for all: Gravity's α stays
    what it is. A condition is a kind of initial weights with an optimizer and its rate.

    Args:
        dataset, architecture: as in `grid`.
        validation_size: training images that are held out; the test images aren't read.
        alpha: Gravity's α.
        starts: kinds of initial weights.
        optimizers: which to tune.
        seeds: others than those of `tuned`.
        scale: as in `plateau`, but for 15 epochs.
    """
    conditions: dict[tuple[str, str, float], _Setting] = {
        (start, optimizer, rate): (
            optimizer,
            {"learning_rate": rate}
            | ({"alpha": alpha} if optimizer == "gravity" else {}),
            {"initial_weights": start},
        )
        for start in starts
        for optimizer in optimizers
        for rate in _TRIES[optimizer]
    }
    return _study(
        conditions,
        dataset,
        architecture,
        seeds=seeds,
        validation_size=validation_size,
        **{"epochs": 15, **scale},
    )


SIZE_COLUMNS = ("step", "loss", "smallest", "median", "largest", "departure")
"""Of the record that `gradient_sizes` makes."""


def gradient_sizes(experiment: Experiment, every: int = 10) -> list[dict[str, float]]:
    """Train a run of Gravity, and return how large its gradients are on the way.

    Nothing is stored. The run is the one that `gravity.experiments.training.train`
    would make.

    Args:
        experiment: a run of Gravity.
        every: updates from one row to the next. Defaults to 10.

    Returns:
        A row for the first and every further `every`-th update: `step`, from 0; the
        training `loss` of that batch; over the network's variables the smallest, the
        median and the largest of max|G|, as `smallest`, `median` and `largest`; and
        `departure`, the norm of G - ζ over the norm of G, over all variables together.
    """
    import keras
    import numpy as np

    from gravity.experiments import datasets, training
    from gravity.experiments.variants import Recorder

    data = datasets.load(experiment.dataset)
    model = training.create_model(experiment)
    optimizer = Recorder(**experiment.arguments, seed=experiment.seed)  # type: ignore[arg-type]
    model.compile(
        optimizer=optimizer,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    subset = training.training_subset(experiment, len(data.x_train))
    rows = []
    step = 0
    for epoch in range(experiment.epochs):
        order = subset[training.epoch_order(experiment, epoch, len(subset))]
        for start in range(0, len(order), experiment.batch_size):
            batch = order[start : start + experiment.batch_size]
            model.reset_metrics()
            logs = model.train_on_batch(
                data.x_train[batch], data.y_train[batch], return_dict=True
            )
            if step % every == 0:
                sizes = keras.ops.convert_to_numpy(optimizer.recorded)
                largest, squares, departure = sizes.T.astype(float)
                rows.append(
                    {
                        "step": step,
                        "loss": float(logs["loss"]),
                        "smallest": float(largest.min()),
                        "median": float(np.median(largest)),
                        "largest": float(largest.max()),
                        "departure": float(np.sqrt(departure.sum() / squares.sum())),
                    }
                )
            step += 1
    return rows


def winners(
    tried: Mapping[tuple[str, str, float], Sequence[Run]],
) -> dict[tuple[str, str], float]:
    """Return the learning rate with the smallest mean held-out loss.

    Args:
        tried: the runs of `tuning` by condition. A loss that is no number counts as
            infinite.

    Returns:
        The rate by kind of initial weights and optimizer; nothing for those of which
        a try is missing.
    """
    best: dict[tuple[str, str], tuple[float, float]] = {}
    missing = set()
    for (start, optimizer, rate), group in tried.items():
        if not group:
            missing.add((start, optimizer))
            continue
        loss = sum(run.history["val_loss"][-1] for run in group) / len(group)
        score = (loss if loss == loss else math.inf, rate)
        best[start, optimizer] = min(best.get((start, optimizer), score), score)
    return {key: rate for key, (_, rate) in best.items() if key not in missing}


def tuned(
    store: RunStore,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    tuning_seeds: Sequence[int] = (100, 101),
    **settings: Any,
) -> Study[tuple[str, str]]:
    """Return the winner of every optimizer's tries, trained on all training images.

    The test images are read here and nowhere else. A condition is a kind of initial
    weights with an optimizer; those of which a try is missing in the store are left
    out.

    Args:
        store: where the runs of `tuning` are.
        seeds: others than `tuning_seeds`.
        tuning_seeds: those of `tuning`.
        settings: further arguments of `tuning`.
    """
    tries = tuning(**settings, seeds=tuning_seeds)
    study = {}
    for (start, optimizer), rate in winners(find(tries, store)).items():
        first = tries[start, optimizer, rate][0]
        study[start, optimizer] = [
            replace(first, seed=seed, validation_size=None) for seed in seeds
        ]
    return study


STUDIES: Mapping[str, Callable[..., Study[Any]]] = {
    "plateau": plateau,
    "parts": parts,
    "parts_fashion": parts_fashion,
    "width_map": width_map,
    "advice": advice,
    "bounds": bounds,
    "tuning": tuning,
}
"""The studies whose runs are known beforehand, by name; `tuned` follows `tuning`."""


def stored_sizes(
    experiment: Experiment, store: RunStore, *, record: bool = False
) -> list[dict[str, float]]:
    """Return the record that `gradient_sizes` made of a run, from its file.

    It lies beside the runs of the store, as `<run_id>.sizes.csv`.

    Args:
        experiment: a run of Gravity.
        store: where to look, and to write.
        record: whether to make the record where there is none. Defaults to `False`,
            for no rows.
    """
    name = f"{experiment.run_id}.sizes.csv"
    for root in store.roots:
        with contextlib.suppress(FileNotFoundError):
            text = (root / name).read_text(encoding="utf-8")
            return [
                {column: float(value) for column, value in row.items()}
                for row in csv.DictReader(text.splitlines())
            ]
    if not record:
        return []
    rows = gradient_sizes(experiment)
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, SIZE_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    draft = store.roots[0] / f".{name}.{os.getpid()}"
    write_durably(draft, buffer.getvalue().encode())
    os.replace(draft, store.roots[0] / name)
    return rows


def find(
    study: Study[Condition], store: RunStore, *, train: bool = False
) -> dict[Condition, list[Run]]:
    """Return the stored runs of every condition of a study.

    Args:
        study: what one of the functions above returned.
        store: where the runs are.
        train: whether to train those that aren't there. Defaults to `False`, which
            leaves them out.
    """
    if train:
        from gravity.experiments import training

        return {name: training.train_all(group, store) for name, group in study.items()}
    return {name: store.find_all(group) for name, group in study.items()}


def experiments(name: str) -> list[Experiment]:
    """Return all experiments of a study, each once."""
    study = STUDIES[name]()
    return list({one.run_id: one for group in study.values() for one in group}.values())
