"""What one training run is, in full, and the name that follows from that."""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gravity.experiments import checks, datasets, models, text
from gravity.experiments.optimizers import OPTIMIZERS, TITLES, Argument
from gravity.experiments.paper import (
    PAPER_LEARNING_RATES,
    PAPER_OPTIMIZERS,
    paper_arguments,
)

# Part of every description: a change to what training does with one (the shuffle, the
# subset, the initial weights) must change the run's name.
TRAINING_RULES = 1


# Values that a description doesn't mention: it and the run's name are then what they
# were before there was a choice.
_LEFT_OUT: Mapping[str, Any] = {
    "data": datasets.OFFICIAL,
    "validation_size": None,
    "initial_weights": "glorot",
    "weight_noise": 0.0,
}


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """The complete description of one training run.

    Two experiments with equal descriptions are the same run: `run_id` is the name
    under which the run store keeps it. The defaults are the paper's (section 3.3).

    Attributes:
        dataset: a key of `gravity.experiments.datasets.DATASETS`.
        architecture: one of `gravity.experiments.models.ARCHITECTURES`.
        optimizer: a key of `gravity.experiments.optimizers.OPTIMIZERS`.
        arguments: the optimizer's arguments; what is left out takes the default that
            its entry there has for it.
        width: multiplies every layer's number of channels. Defaults to 1, the paper's.
        epochs: number of passes over the training data. Defaults to 100.
        batch_size: images, or sequences of text, a step. Defaults to 128.
        seed: of initial weights, initial velocity and shuffling. Defaults to 0.
        train_size: number of training images, or sequences of text, `None` (the
            default) for all of them.
        validation_size: number of training images, or sequences, that are held out of
            training and on which `val_loss` and `val_accuracy` are measured; the test
            data aren't read then. They are the same for every seed and `train_size`.
            `None` (the default) holds nothing out and measures on the test data.
        initial_weights: one of `gravity.experiments.models.INITIAL_WEIGHTS`. Defaults
            to "glorot", the paper's.
        weight_noise: standard deviation of normal noise that is added to every initial
            weight. Defaults to 0.
        data: what the dataset was made from, a `Spec.data` of
            `gravity.experiments.datasets`. Defaults to what
            `gravity.experiments.datasets.load` gives here.

    Raises:
        ValueError: an attribute is not of the kind said above, or the architecture
            doesn't take the dataset; the message names it, its value and what is
            accepted.
    """

    dataset: str
    architecture: str
    optimizer: str
    arguments: Mapping[str, Argument] = field(default_factory=dict, hash=False)
    width: float = 1.0
    epochs: int = 100
    batch_size: int = 128
    seed: int = 0
    train_size: int | None = None
    data: str = ""
    validation_size: int | None = None
    initial_weights: str = "glorot"
    weight_noise: float = 0.0

    def __post_init__(self) -> None:
        checks.choice("dataset", self.dataset, datasets.DATASETS)
        checks.choice("architecture", self.architecture, models.ARCHITECTURES)
        checks.choice("optimizer", self.optimizer, OPTIMIZERS)
        optimizer = OPTIMIZERS[self.optimizer]
        for name in self.arguments:
            checks.choice(f"arguments of {self.optimizer}", name, optimizer.defaults)
        arguments = {
            name: optimizer.argument(name, self.arguments.get(name, default))
            for name, default in optimizer.defaults.items()
        }
        object.__setattr__(self, "arguments", arguments)
        object.__setattr__(self, "width", checks.positive("width", self.width))
        checks.integer("epochs", self.epochs, 1)
        checks.integer("batch_size", self.batch_size, 1)
        checks.integer("seed", self.seed, 0)
        present = datasets.DATASETS[self.dataset]
        if models.takes_text(self.architecture) != present.is_text:
            fitting = (
                name
                for name in models.ARCHITECTURES
                if models.takes_text(name) == present.is_text
            )
            raise ValueError(
                f"Argument `architecture` must be one that takes {present.unit}, as "
                f"{self.dataset} has: {', '.join(fitting)}. "
                f"Received: architecture={self.architecture!r}"
            )
        object.__setattr__(self, "data", self.data or present.data)
        if present.is_text:
            if not self.data.startswith(text.MARK):
                raise ValueError(
                    "Argument `data` must be the fingerprint of a text, "
                    f"'{text.MARK}…'. Received: data={self.data!r}"
                )
        elif self.data != datasets.OFFICIAL and not self.is_generated:
            raise ValueError(
                "Argument `data` must be 'official' or the fingerprint of generated "
                f"data, 'generated-…'. Received: data={self.data!r}"
            )
        checks.choice("initial_weights", self.initial_weights, models.INITIAL_WEIGHTS)
        if self.weight_noise != 0:
            noise = checks.positive("weight_noise", self.weight_noise)
            object.__setattr__(self, "weight_noise", noise)
        available: float = math.inf
        # How many images other data have isn't known here.
        if self.data == present.data:
            available = present.train_size
        if self.validation_size is not None:
            checks.integer("validation_size", self.validation_size, 1)
            if self.validation_size >= available:
                raise ValueError(
                    f"Argument `validation_size` must be less than {available}, all "
                    f"training {present.unit} of {self.dataset}. "
                    f"Received: validation_size={self.validation_size}"
                )
            available -= self.validation_size
        if self.train_size is not None:
            checks.integer("train_size", self.train_size, 1)
            if self.train_size > available:
                raise ValueError(
                    f"Argument `train_size` must be at most {available}, all training "
                    f"{present.unit} of {self.dataset} that aren't held out. "
                    f"Received: train_size={self.train_size}"
                )
            if self.train_size == available:
                object.__setattr__(self, "train_size", None)

    def describe(self) -> dict[str, Any]:
        """Return the description as plain JSON types, complete and in a fixed order.

        `data` is part of it for generated data and for text only; what the paper's runs
        don't have, when the run has it.
        """
        description = {
            "training_rules": TRAINING_RULES,
            # `asdict` would take most of the time that listing the runs takes.
            **{name: getattr(self, name) for name in self.__dataclass_fields__},
            "arguments": dict(self.arguments),
        }
        for name, default in _LEFT_OUT.items():
            if description[name] == default:
                del description[name]
        return description

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> "Experiment":
        """Return the experiment that `describe` described.

        Raises:
            ValueError: the description was made for other training rules.
        """
        fields = dict(description)
        rules = fields.pop("training_rules", None)
        if rules != TRAINING_RULES:
            raise ValueError(
                f"`training_rules` must be {TRAINING_RULES}. "
                f"Received: training_rules={rules!r}"
            )
        return cls(**{**_LEFT_OUT, **fields})

    @property
    def is_generated(self) -> bool:
        """Whether the images are generated ones, which no result may be drawn from."""
        return self.data.startswith("generated-")

    @property
    def run_id(self) -> str:
        """The run's name: readable parts and a hash of the description."""
        described = json.dumps(self.describe(), sort_keys=True, separators=(",", ":"))
        digest = hashlib.sha256(described.encode()).hexdigest()[:12]
        mark = "generated-" if self.is_generated else ""
        return f"{mark}{self.dataset}-{self.architecture}-{self.optimizer}-{digest}"

    @property
    def command(self) -> list[str]:
        """The words of the command that trains this run, after `python`."""
        description = self.describe()
        for name in ("training_rules", "data"):
            description.pop(name, None)
        arguments = description.pop("arguments")
        words = ["-m", "gravity", "train"]
        for name, value in description.items():
            if value is not None:
                words += [f"--{name.replace('_', '-')}", str(value)]
        for name, value in arguments.items():
            words += ["--argument", f"{name}={value}"]
        return words

    @property
    def title(self) -> str:
        """The run as a reader would name it, without its numbers."""
        return (
            f"{self.dataset_title} × {models.TITLES[self.architecture]} × "
            f"{TITLES[self.optimizer]}"
        )

    @property
    def dataset_title(self) -> str:
        """The dataset as a reader would name it; generated data are called so."""
        title = datasets.DATASETS[self.dataset].real_title
        return title + (datasets.GENERATED if self.is_generated else "")

    @property
    def is_papers(self) -> bool:
        """Whether this is one of the paper's own 30 settings, but for the seed."""
        return self.is_papers_beginning and self.epochs == type(self).epochs

    @property
    def is_papers_beginning(self) -> bool:
        """Whether this is one of the paper's settings but for seed and epochs."""
        pair = (self.dataset, self.architecture)
        if (
            self.is_generated
            or pair not in PAPER_LEARNING_RATES
            or self.optimizer not in PAPER_OPTIMIZERS
        ):
            return False
        paper = paper_experiment(self.dataset, self.architecture, self.optimizer)
        return self == replace(
            paper, seed=self.seed, epochs=self.epochs, data=self.data
        )

    @property
    def scale(self) -> str:
        """How far the run is from the paper's: one of the five words below.

        `generated` is a run on generated data, whatever its settings, `paper` one with
        the paper's settings, `begun` one with these that stops before the last epoch,
        `smoke` one too short to mean anything (fewer than 3 epochs) and `reduced` any
        other.
        """
        if self.is_generated:
            return "generated"
        if self.is_papers_beginning and self.epochs <= type(self).epochs:
            return "paper" if self.is_papers else "begun"
        return "smoke" if self.epochs < 3 else "reduced"


def paper_experiment(
    dataset: str, architecture: str, optimizer: str, seed: int = 0
) -> Experiment:
    """Return one of the paper's 30 runs (Table 5 and section 3.3)."""
    return Experiment(
        dataset=dataset,
        architecture=architecture,
        optimizer=optimizer,
        arguments=paper_arguments(dataset, architecture, optimizer),
        seed=seed,
    )


def grid(
    dataset: str,
    architecture: str,
    *,
    optimizers: Iterable[str] = PAPER_OPTIMIZERS,
    arguments: Mapping[str, Mapping[str, Argument]] | None = None,
    seeds: Iterable[int] = (0,),
    **scale: Any,
) -> list[Experiment]:
    """Return the experiments of one dataset/architecture pair.

    Args:
        dataset: a key of `gravity.experiments.datasets.DATASETS`.
        architecture: one of `gravity.experiments.models.ARCHITECTURES`.
        optimizers: the optimizers to compare. Defaults to the paper's three.
        arguments: for each optimizer, the arguments that differ from the paper's.
        seeds: one run each. Defaults to a single run with seed 0.
        scale: everything else that `Experiment` takes, as it takes it.

    Raises:
        ValueError: as `Experiment`, or `arguments` names an optimizer that
            isn't among `optimizers`.
    """
    optimizers = tuple(optimizers)
    changes = dict(arguments or {})
    for name in changes:
        checks.choice("arguments", name, optimizers)
    return [
        Experiment(
            dataset=dataset,
            architecture=architecture,
            optimizer=optimizer,
            arguments={
                **paper_arguments(dataset, architecture, optimizer),
                **changes.get(optimizer, {}),
            },
            seed=seed,
            **scale,
        )
        for optimizer in optimizers
        for seed in seeds
    ]


def tries(
    dataset: str,
    architecture: str,
    values: Mapping[str, Iterable[Argument]],
    argument: str = "learning_rate",
    **shared: Any,
) -> list[Experiment]:
    """Return experiments that differ in their optimizer and in one of its arguments.

    Args:
        dataset, architecture: as in `grid`.
        values: for each optimizer the values to try.
        argument: the argument that has them. Defaults to the learning rate.
        shared: everything else that `grid` takes, such as `seeds`.

    Raises:
        ValueError: as `grid`.
    """
    return [
        one
        for optimizer, each in values.items()
        for value in each
        for one in grid(
            dataset,
            architecture,
            optimizers=[optimizer],
            arguments={optimizer: {argument: value}},
            **shared,
        )
    ]
