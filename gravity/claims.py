"""What the paper says of its figures, each statement with the rule that decides it.

A rule looks at training histories only, the authors' or ours, and answers "supported",
"not supported" or "can't tell", with the numbers that it saw. Statements about words
such as "stable" or "similar" need a threshold, which stands here.
"""

import itertools
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gravity.experiment import TITLES
from gravity.runs import History

Histories = Mapping[str, History]
"""One history for each optimizer; several seeds come as their mean."""

SUPPORTED, NOT_SUPPORTED, CANT_TELL = "supported", "not supported", "can't tell"

METRIC_TITLES = {
    "loss": "training loss",
    "accuracy": "training accuracy",
    "val_loss": "test loss",
    "val_accuracy": "test accuracy",
}

SETTLED = 20
"""Oscillation is measured after this many epochs, when the first descent is over."""

CLEARLY = 1.25
"""One oscillation is larger than another from this many times its size on."""

STEADY_POINTS = 0.5
"""A test accuracy is stable while no epoch changes it by more than this many points."""

SIMILAR_POINTS = 2.0
"""Two accuracies are similar when they differ by less than this many points."""


@dataclass(frozen=True)
class Verdict:
    """What the data say of a statement.

    Attributes:
        answer: `SUPPORTED`, `NOT_SUPPORTED` or `CANT_TELL`.
        evidence: the numbers that decided it, as a phrase.
    """

    answer: str
    evidence: str


Rule = Callable[[Histories], Verdict]


@dataclass(frozen=True)
class Claim:
    """One statement of the paper.

    Attributes:
        text: the statement in the book's own words.
        rule: decides it, from the histories of the pair that it is about.
        needs: optimizers whose histories the rule reads.
    """

    text: str
    rule: Rule
    needs: tuple[str, ...] = ("gravity", "adam", "rmsprop")

    def judge(self, histories: Histories) -> Verdict:
        """Return the verdict on `histories`, "can't tell" where one is missing."""
        missing = [TITLES[name] for name in self.needs if name not in histories]
        if missing:
            return Verdict(CANT_TELL, f"no run with {' or '.join(missing)}")
        return self.rule(histories)


def mean_history(histories: Sequence[History]) -> History:
    """Return the mean of several seeds' histories, epoch by epoch.

    Args:
        histories: at least one; those of equal length are expected.
    """
    return {
        metric: [
            statistics.fmean(values)
            for values in zip(*(each[metric] for each in histories), strict=True)
        ]
        for metric in METRIC_TITLES
    }


def best(history: History, metric: str) -> float:
    """Return the lowest loss or the highest accuracy of a history."""
    values = [value for value in history[metric] if not math.isnan(value)]
    extremum = min if metric.endswith("loss") else max
    return extremum(values) if values else math.nan


def oscillation(history: History, metric: str) -> float:
    """Return how much a metric jumps from epoch to epoch, once it has settled.

    Returns:
        The standard deviation of the differences between neighbouring epochs after
        epoch `SETTLED`, in the metric's unit; NaN for a shorter history.
    """
    values = history[metric][SETTLED:]
    steps = [after - before for before, after in itertools.pairwise(values)]
    return statistics.pstdev(steps) if len(steps) > 1 else math.nan


def reached(history: History, metric: str, target: float) -> float:
    """Return the first epoch that is at least as good as `target`, else infinity."""
    for epoch, value in enumerate(history[metric], start=1):
        if value <= target if metric.endswith("loss") else value >= target:
            return epoch
    return math.inf


def _number(value: float, metric: str) -> str:
    return f"{value:.4g}" if metric.endswith("loss") else f"{100 * value:.2f} %"


def better(winner: str, losers: Sequence[str], metric: str) -> Rule:
    """Return the rule for "`winner` gets further than `losers`".

    Both the best value over all epochs and the last one have to say so; where they
    contradict each other, it can't be told.
    """

    def rule(histories: Histories) -> Verdict:
        sign = -1 if metric.endswith("loss") else 1
        answers, seen = [], []
        for what, value in (
            ("best", lambda name: best(histories[name], metric)),
            ("last", lambda name: histories[name][metric][-1]),
        ):
            values = {name: value(name) for name in (winner, *losers)}
            answers.append(
                all(sign * values[winner] > sign * values[name] for name in losers)
            )
            numbers = ", ".join(
                f"{TITLES[name]} {_number(number, metric)}"
                for name, number in values.items()
            )
            seen.append(f"{what} {METRIC_TITLES[metric]}: {numbers}")
        return Verdict(_agreed(answers), "; ".join(seen))

    return rule


def faster(winner: str, losers: Sequence[str], metric: str) -> Rule:
    """Return the rule for "`winner` gets there sooner".

    The target is what the slowest of them reaches at best, eased by a tenth of the way
    from the first epoch.
    """

    def rule(histories: Histories) -> Verdict:
        names = (winner, *losers)
        ends = [best(histories[name], metric) for name in names]
        starts = [histories[name][metric][0] for name in names]
        loss = metric.endswith("loss")
        end, start = (max(ends), min(starts)) if loss else (min(ends), max(starts))
        target = end + 0.1 * (start - end)
        epochs = {name: reached(histories[name], metric, target) for name in names}
        others = min(epochs[name] for name in losers)
        numbers = ", ".join(f"{TITLES[name]} {epochs[name]:g}" for name in names)
        evidence = (
            f"epoch in which {METRIC_TITLES[metric]} reaches "
            f"{_number(target, metric)}: {numbers}"
        )
        if epochs[winner] == others:
            return Verdict(CANT_TELL, evidence)
        return Verdict(_agreed([epochs[winner] < others]), evidence)

    return rule


def oscillates_more(name: str, others: Sequence[str], metric: str) -> Rule:
    """Return the rule for "`name` oscillates more than `others`"."""

    def rule(histories: Histories) -> Verdict:
        values = {
            each: oscillation(histories[each], metric) for each in (name, *others)
        }
        return _compare_oscillations(
            {TITLES[each]: value for each, value in values.items()}, metric
        )

    return rule


def _compare_oscillations(values: Mapping[str, float], metric: str) -> Verdict:
    """Judge that the first of `values` is clearly the largest."""
    first, *rest = values.values()
    numbers = ", ".join(f"{key} {value:.3g}" for key, value in values.items())
    evidence = f"standard deviation of the steps of {METRIC_TITLES[metric]}: {numbers}"
    if any(math.isnan(value) for value in values.values()):
        return Verdict(CANT_TELL, f"fewer than {SETTLED + 3} epochs")
    if all(first >= CLEARLY * value for value in rest):
        return Verdict(SUPPORTED, evidence)
    if any(first < value for value in rest):
        return Verdict(NOT_SUPPORTED, evidence)
    return Verdict(CANT_TELL, evidence)


def as_steady(name: str, other: str, metric: str) -> Rule:
    """Return the rule for "`name` is as steady as `other`": not clearly less so."""

    def rule(histories: Histories) -> Verdict:
        values = {each: oscillation(histories[each], metric) for each in (name, other)}
        titled = {TITLES[each]: value for each, value in values.items()}
        verdict = _compare_oscillations(titled, metric)
        if math.isnan(values[name]) or math.isnan(values[other]):
            return verdict
        answer = values[name] < CLEARLY * values[other]
        return Verdict(_agreed([answer]), verdict.evidence)

    return rule


def stable_from(name: str, epoch: int) -> Rule:
    """Return the rule for "`name`'s test accuracy is stable from `epoch` on"."""

    def rule(histories: Histories) -> Verdict:
        values = histories[name]["val_accuracy"][epoch - 1 :]
        if len(values) < 2:
            return Verdict(CANT_TELL, f"the run has no {epoch} epochs")
        jump = 100 * max(
            abs(after - before) for before, after in itertools.pairwise(values)
        )
        return Verdict(
            _agreed([jump <= STEADY_POINTS]),
            f"largest change of test accuracy between two epochs from {epoch} on: "
            f"{jump:.2f} points (stable: at most {STEADY_POINTS:g})",
        )

    return rule


def similar(names: Sequence[str], metric: str) -> Rule:
    """Return the rule for "`names` behave alike" in the last epoch's accuracy."""

    def rule(histories: Histories) -> Verdict:
        last = {name: histories[name][metric][-1] for name in names}
        spread = 100 * (max(last.values()) - min(last.values()))
        numbers = ", ".join(
            f"{TITLES[name]} {_number(value, metric)}" for name, value in last.items()
        )
        return Verdict(
            _agreed([spread < SIMILAR_POINTS]),
            f"last {METRIC_TITLES[metric]}: {numbers} (similar: less than "
            f"{SIMILAR_POINTS:g} points apart)",
        )

    return rule


def every(*rules: Rule) -> Rule:
    """Return the rule that all of `rules` are supported."""

    def rule(histories: Histories) -> Verdict:
        verdicts = [each(histories) for each in rules]
        answers = {verdict.answer for verdict in verdicts}
        evidence = "; ".join(verdict.evidence for verdict in verdicts)
        for answer in (NOT_SUPPORTED, CANT_TELL):
            if answer in answers:
                return Verdict(answer, evidence)
        return Verdict(SUPPORTED, evidence)

    return rule


def _agreed(answers: Sequence[bool]) -> str:
    if all(answers):
        return SUPPORTED
    return CANT_TELL if any(answers) else NOT_SUPPORTED


_ADAM, _RMSPROP, _GRAVITY = ("adam",), ("rmsprop",), ("gravity",)

PAIR_CLAIMS: Mapping[tuple[str, str], Sequence[Claim]] = {
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
        Claim(
            "RMSprop's test loss oscillates more than the others'.",
            oscillates_more("rmsprop", ("gravity", "adam"), "val_loss"),
        ),
    ),
    ("mnist", "vgg19"): (
        Claim(
            "Gravity has the lowest test loss.",
            better("gravity", ("adam", "rmsprop"), "val_loss"),
        ),
        Claim(
            "Gravity has the highest test accuracy.",
            better("gravity", ("adam", "rmsprop"), "val_accuracy"),
        ),
    ),
    ("fashion_mnist", "vgg16"): (
        Claim(
            "Gravity gets to a lower training loss than Adam.",
            better("gravity", _ADAM, "loss"),
        ),
        Claim(
            "RMSprop's test loss oscillates more than the others'.",
            oscillates_more("rmsprop", ("gravity", "adam"), "val_loss"),
        ),
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
            "Adam has the lowest test loss.",
            better("adam", ("gravity", "rmsprop"), "val_loss"),
        ),
        Claim(
            "Gravity has the highest test accuracy.",
            better("gravity", ("adam", "rmsprop"), "val_accuracy"),
        ),
        Claim(
            "Gravity is stable from epoch 80 on.",
            stable_from("gravity", 80),
        ),
    ),
    ("cifar10", "vgg19"): (
        Claim(
            "RMSprop is late in lowering its training loss.",
            every(
                faster("gravity", _RMSPROP, "loss"),
                faster("adam", _RMSPROP, "loss"),
            ),
        ),
        Claim(
            "RMSprop's test loss oscillates more than the others'.",
            oscillates_more("rmsprop", ("gravity", "adam"), "val_loss"),
        ),
        Claim(
            "RMSprop's test accuracy is below that of the others.",
            every(
                better("gravity", _RMSPROP, "val_accuracy"),
                better("adam", _RMSPROP, "val_accuracy"),
            ),
        ),
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
        Claim(
            "RMSprop's test accuracy is below that of the others.",
            every(
                better("gravity", _RMSPROP, "val_accuracy"),
                better("adam", _RMSPROP, "val_accuracy"),
            ),
        ),
        Claim(
            "RMSprop's test loss oscillates more than the others'.",
            oscillates_more("rmsprop", ("gravity", "adam"), "val_loss"),
        ),
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
            "Gravity's test accuracy is far above Adam's.",
            better("gravity", _ADAM, "val_accuracy"),
        ),
        Claim(
            "RMSprop's test loss oscillates more than the others'.",
            oscillates_more("rmsprop", ("gravity", "adam"), "val_loss"),
        ),
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
        Claim(
            "Gravity has the lowest test loss.",
            better("gravity", ("adam", "rmsprop"), "val_loss"),
        ),
        Claim(
            "Gravity has the highest test accuracy.",
            better("gravity", ("adam", "rmsprop"), "val_accuracy"),
        ),
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
        Claim(
            "Gravity has the lowest test loss.",
            better("gravity", ("adam", "rmsprop"), "val_loss"),
        ),
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

FIGURES: Mapping[tuple[str, str], int] = {
    pair: number for number, pair in enumerate(PAIR_CLAIMS, start=10)
}
"""The number of the paper's figure that shows each pair."""
