"""What the paper says of its figures, each statement with the rule that decides it.

`gravity.evidence.ledger` has the statements about anything but one figure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gravity.evidence.published import Pair
from gravity.evidence.rules import (
    Histories,
    Rule,
    as_steady,
    better,
    every,
    faster,
    learns,
    oscillates_more,
    similar,
    stable_from,
)
from gravity.evidence.verdicts import Answer, Verdict
from gravity.experiments import models
from gravity.experiments.datasets import DATASETS
from gravity.experiments.optimizers import TITLES
from gravity.experiments.paper import PAPER_OPTIMIZERS


@dataclass(frozen=True)
class Claim:
    """One statement of the paper.

    Attributes:
        text: the statement in the book's own words.
        rule: decides it, from the histories of the pair that it is about.
    """

    text: str
    rule: Rule

    def judge(self, histories: Histories) -> Verdict:
        """Return the verdict, "can't tell" where one of the three has no history."""
        missing = [TITLES[name] for name in PAPER_OPTIMIZERS if name not in histories]
        if missing:
            *most, last = missing
            names = f"{', '.join(most)} or {last}" if most else last
            return Verdict(Answer.CANT_TELL, f"no run with {names}")
        return self.rule(histories)


_ADAM, _RMSPROP, _GRAVITY = ("adam",), ("rmsprop",), ("gravity",)

# What the paper says of several figures.
_RMSPROP_OSCILLATES = Claim(
    "RMSprop's test loss oscillates more than the others'.",
    oscillates_more("rmsprop", ("gravity", "adam"), "val_loss"),
)
_RMSPROP_IS_LAST = Claim(
    "RMSprop's test accuracy is below that of the others.",
    every(
        better("gravity", _RMSPROP, "val_accuracy"),
        better("adam", _RMSPROP, "val_accuracy"),
    ),
)
_GRAVITY_HAS_LOWEST_LOSS = Claim(
    "Gravity has the lowest test loss.",
    better("gravity", ("adam", "rmsprop"), "val_loss"),
)
_GRAVITY_IS_FIRST = Claim(
    "Gravity has the highest test accuracy.",
    better("gravity", ("adam", "rmsprop"), "val_accuracy"),
)

PAIR_CLAIMS: Mapping[Pair, Sequence[Claim]] = {
    ("mnist", "vgg16"): (
        Claim(
            "Gravity's test loss is about as steady as Adam's.",
            as_steady("gravity", "adam", "val_loss"),
        ),
        Claim(
            "Adam gets to a higher test accuracy than Gravity.",
            better("adam", _GRAVITY, "val_accuracy"),
        ),
        Claim(
            "Gravity gets to a lower test loss than Adam.",
            better("gravity", _ADAM, "val_loss"),
        ),
        _RMSPROP_OSCILLATES,
    ),
    ("mnist", "vgg19"): (
        _GRAVITY_HAS_LOWEST_LOSS,
        _GRAVITY_IS_FIRST,
    ),
    ("fashion_mnist", "vgg16"): (
        Claim(
            "Gravity gets to a lower training loss than Adam.",
            better("gravity", _ADAM, "loss"),
        ),
        _RMSPROP_OSCILLATES,
        Claim(
            "Gravity is stable from epoch 60 on.",
            stable_from("gravity", 60),
        ),
    ),
    ("fashion_mnist", "vgg19"): (
        Claim(
            "Adam lowers its training loss more slowly than the others.",
            every(
                faster("gravity", _ADAM, "loss"),
                faster("rmsprop", _ADAM, "loss"),
            ),
        ),
        Claim(
            "Adam has the lowest test loss.",
            better("adam", ("gravity", "rmsprop"), "val_loss"),
        ),
        Claim(
            "Adam has the lowest test accuracy.",
            every(
                better("gravity", _ADAM, "val_accuracy"),
                better("rmsprop", _ADAM, "val_accuracy"),
            ),
        ),
        Claim(
            "Gravity is stable from epoch 80 on.",
            stable_from("gravity", 80),
        ),
    ),
    ("cifar10", "vgg16"): (
        Claim(
            "All three lower the training loss and raise the training accuracy well.",
            learns(("gravity", "adam", "rmsprop")),
        ),
        Claim(
            "Adam has the lowest test loss.",
            better("adam", ("gravity", "rmsprop"), "val_loss"),
        ),
        _GRAVITY_IS_FIRST,
        Claim(
            "Gravity is stable from epoch 80 on.",
            stable_from("gravity", 80),
        ),
    ),
    ("cifar10", "vgg19"): (
        Claim(
            "Gravity and Adam end at similar training accuracies.",
            similar(("gravity", "adam"), "accuracy"),
        ),
        Claim(
            "RMSprop is late in lowering its training loss.",
            every(
                faster("gravity", _RMSPROP, "loss"),
                faster("adam", _RMSPROP, "loss"),
            ),
        ),
        _RMSPROP_OSCILLATES,
        _RMSPROP_IS_LAST,
        Claim(
            "Gravity gets to a higher test accuracy than Adam.",
            better("gravity", _ADAM, "val_accuracy"),
        ),
    ),
    ("cifar100_coarse", "vgg16"): (
        Claim(
            "Gravity and Adam end at similar training accuracies.",
            similar(("gravity", "adam"), "accuracy"),
        ),
        Claim(
            "Adam gets to a lower test loss than Gravity.",
            better("adam", _GRAVITY, "val_loss"),
        ),
        Claim(
            "Adam gets to a higher test accuracy than Gravity.",
            better("adam", _GRAVITY, "val_accuracy"),
        ),
        _RMSPROP_IS_LAST,
        _RMSPROP_OSCILLATES,
    ),
    ("cifar100_coarse", "vgg19"): (
        Claim(
            "Gravity has the lowest training loss and the highest training accuracy.",
            every(
                better("gravity", ("adam", "rmsprop"), "loss"),
                better("gravity", ("adam", "rmsprop"), "accuracy"),
            ),
        ),
        Claim(
            # What "big" is can't be tested; the verdict shows the points.
            "Gravity's test accuracy is above Adam's; the paper calls it a big "
            "difference.",
            better("gravity", _ADAM, "val_accuracy"),
        ),
        _RMSPROP_OSCILLATES,
        Claim(
            "RMSprop's training loss stays above that of the others.",
            every(
                better("gravity", _RMSPROP, "loss"),
                better("adam", _RMSPROP, "loss"),
            ),
        ),
    ),
    ("cifar100_fine", "vgg16"): (
        Claim(
            "All three end at similar training accuracies.",
            similar(("gravity", "adam", "rmsprop"), "accuracy"),
        ),
        _GRAVITY_HAS_LOWEST_LOSS,
        _GRAVITY_IS_FIRST,
        Claim(
            "Gravity's test accuracy rises fastest.",
            faster("gravity", ("adam", "rmsprop"), "val_accuracy"),
        ),
    ),
    ("cifar100_fine", "vgg19"): (
        Claim(
            "Gravity lowers its training loss fastest and furthest.",
            every(
                faster("gravity", ("adam", "rmsprop"), "loss"),
                better("gravity", ("adam", "rmsprop"), "loss"),
            ),
        ),
        Claim(
            "Gravity's training accuracy rises fastest.",
            faster("gravity", ("adam", "rmsprop"), "accuracy"),
        ),
        _GRAVITY_HAS_LOWEST_LOSS,
        Claim(
            "Gravity's test accuracy rises fastest and gets highest.",
            every(
                faster("gravity", ("adam", "rmsprop"), "val_accuracy"),
                better("gravity", ("adam", "rmsprop"), "val_accuracy"),
            ),
        ),
    ),
}
"""Section 4: for each dataset and architecture, what the paper says of its figure."""

FIGURES: Mapping[Pair, int] = {
    pair: number for number, pair in enumerate(PAIR_CLAIMS, start=10)
}
"""The number of the paper's figure that shows each pair."""

PAIRS: Sequence[Pair] = tuple(PAIR_CLAIMS)
"""The paper's ten pairs, in its order."""


def pair_title(pair: Pair) -> str:
    """Return a pair's title, with the dataset's own name even in tests."""
    return f"{DATASETS[pair[0]].real_title} × {models.TITLES[pair[1]]}"
