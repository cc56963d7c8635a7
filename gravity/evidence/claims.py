"""What the paper says of its figures, each statement with the rule that decides it.

A rule looks at training histories only, the authors' or ours, and answers "supported",
"not supported" or "can't tell", with the numbers that it saw. Statements about words
such as "stable" or "similar" need a threshold, which stands here.

`gravity.evidence.ledger` has the statements about anything but one figure.
"""

import itertools
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from gravity.evidence.comparison import FEWEST_SEEDS
from gravity.experiments import models, optimizers
from gravity.experiments.runs import History, Run

Histories = Mapping[str, History]
"""One history for each optimizer, all of one seed."""

SUPPORTED, NOT_SUPPORTED, CANT_TELL = "supported", "not supported", "can't tell"
PLAIN = (SUPPORTED, NOT_SUPPORTED, CANT_TELL)
"""What a verdict says on runs at the paper's scale, and on computations."""
HOLDS_REDUCED, FAILS_REDUCED = "holds at reduced scale", "fails at reduced scale"

FEWEST_REDUCED = 3
"""At reduced scale so many seeds that all agree say whether a statement holds there."""

# Claims compare optimizers, and networks.
TITLES = {**optimizers.TITLES, **models.TITLES}

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

LEARNT = 0.95
"""An optimizer has learnt the training data at this share of right answers."""


@dataclass(frozen=True)
class Measured:
    """What a rule measured on the runs of one seed, or on average over several.

    Attributes:
        name: what was measured, with its unit.
        values: for each optimizer the numbers, in the order that `name` has them.
        form: writes one of them.
    """

    name: str
    values: Mapping[str, Sequence[float]]
    form: Callable[[float], str]

    def written(self, name: str) -> str:
        """Return an optimizer's numbers, the second and later ones in brackets."""
        first, *rest = (self.form(value) for value in self.values[name])
        return f"{first} ({', '.join(rest)})" if rest else first


@dataclass(frozen=True)
class Verdict:
    """What the data say of a statement.

    Attributes:
        answer: `SUPPORTED`, `NOT_SUPPORTED` or `CANT_TELL`; of several seeds at less
            than the paper's scale `HOLDS_REDUCED` or `FAILS_REDUCED`.
        evidence: the numbers that decided it, as a phrase.
        measured: the same as numbers. Defaults to none.
    """

    answer: str
    evidence: str
    measured: tuple[Measured, ...] = ()


@dataclass(frozen=True)
class Rule:
    """Decides a statement about one figure.

    Attributes:
        words: what it asks for, as a phrase.
        decide: returns the verdict on the histories of one pair.
    """

    words: str
    decide: Callable[[Histories], Verdict]

    def __call__(self, histories: Histories) -> Verdict:
        """Return the verdict on `histories`."""
        return self.decide(histories)


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
            *most, last = missing
            names = f"{', '.join(most)} or {last}" if most else last
            return Verdict(CANT_TELL, f"no run with {names}")
        return self.rule(histories)


T = TypeVar("T")


def by_seed(runs: Sequence[Run]) -> list[Histories]:
    """Return for each seed that every optimizer has the histories of its runs.

    Args:
        runs: at most one of each optimizer and seed, otherwise alike.
    """
    found: dict[int, dict[str, History]] = {}
    for run in runs:
        seeds = found.setdefault(run.experiment.seed, {})
        seeds[run.experiment.optimizer] = run.history
    optimizers = {run.experiment.optimizer for run in runs}
    return [found[seed] for seed in sorted(found) if found[seed].keys() == optimizers]


def over_seeds(
    judge: Callable[[T], Verdict], seeds: Sequence[T], *, reduced: bool = False
) -> Verdict:
    """Return the verdict on several seeds, each judged by itself.

    A statement is supported, or not supported, when so many seeds agree on it that a
    fair coin would do so in less than 5 % of all cases: five of five, or seven of
    eight. With fewer than `FEWEST_SEEDS` it can't be told, and the evidence has the
    points. Runs at less than the paper's scale say nothing about the paper's: there the
    statement holds, or fails, when all of at least `FEWEST_REDUCED` seeds agree.

    Args:
        judge: returns the verdict on one seed.
        seeds: what to judge, one a seed.
        reduced: whether the runs are at less than the paper's scale. Defaults to
            `False`.
    """
    verdicts = [judge(each) for each in seeds]
    if not verdicts:
        return Verdict(CANT_TELL, "no run")
    measured = _averaged([verdict.measured for verdict in verdicts])
    count = len(verdicts)
    agreeing = {
        answer: sum(verdict.answer == answer for verdict in verdicts)
        for answer in (SUPPORTED, NOT_SUPPORTED)
    }
    evidence = (
        f"{agreeing[SUPPORTED]} of {count} seeds say so, "
        f"{agreeing[NOT_SUPPORTED]} say the opposite"
    )
    alike = {verdict.evidence for verdict in verdicts}
    if not any(agreeing.values()) and len(alike) == 1:
        # What keeps every seed from telling is the same: the runs are too short.
        return Verdict(CANT_TELL, alike.pop(), measured)
    if reduced and count >= FEWEST_REDUCED:
        for answer, stands_for in (
            (SUPPORTED, HOLDS_REDUCED),
            (NOT_SUPPORTED, FAILS_REDUCED),
        ):
            if agreeing[answer] == count:
                return Verdict(stands_for, evidence, measured)
        return Verdict(CANT_TELL, evidence, measured)
    if count < FEWEST_SEEDS:
        those = "one seed" if count == 1 else f"{count} seeds"
        seen = [verdict.evidence for verdict in verdicts]
        # What is the same for all is said once.
        points = seen[0]
        if len(set(seen)) > 1:
            points = "; ".join(f"({n}) {each}" for n, each in enumerate(seen, start=1))
        return Verdict(
            CANT_TELL, f"{those}, too few to claim anything; {points}", measured
        )
    for answer, number in agreeing.items():
        if beyond_chance(number, count):
            return Verdict(answer, evidence, measured)
    return Verdict(CANT_TELL, evidence, measured)


def _averaged(seeds: Sequence[tuple[Measured, ...]]) -> tuple[Measured, ...]:
    """Return what was measured on several seeds, each number the mean over them."""
    if len({tuple(each.name for each in seed) for seed in seeds}) > 1:
        return ()
    return tuple(
        replace(
            alike[0],
            values={
                name: tuple(
                    map(
                        statistics.fmean,
                        zip(*(each.values[name] for each in alike), strict=True),
                    )
                )
                for name in alike[0].values
            },
        )
        for alike in zip(*seeds, strict=True)
    )


def beyond_chance(agreeing: int, count: int) -> bool:
    """Return whether a fair coin shows so many heads in less than 5 % of all cases."""
    ways = sum(math.comb(count, number) for number in range(agreeing, count + 1))
    return ways / 2**count < 0.05


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
    if not math.isfinite(value):
        return "diverged"
    return f"{value:.4g}" if metric.endswith("loss") else f"{100 * value:.2f} %"


def _measured(
    name: str, metric: str, values: Mapping[str, Sequence[float]]
) -> Measured:
    return Measured(name, values, lambda value: _number(value, metric))


def better(winner: str, losers: Sequence[str], metric: str) -> Rule:
    """Return the rule for "`winner` gets further than `losers`".

    Both the best value over all epochs and the last one have to say so; where they
    contradict each other, it can't be told. A run that diverged is behind all others.
    """

    def rule(histories: Histories) -> Verdict:
        sign = -1 if metric.endswith("loss") else 1
        answers, seen = [], []
        found: dict[str, list[float]] = {name: [] for name in (winner, *losers)}
        for what, value in (
            ("best", lambda name: best(histories[name], metric)),
            ("last", lambda name: histories[name][metric][-1]),
        ):
            values = {name: value(name) for name in (winner, *losers)}
            for name, number in values.items():
                found[name].insert(0, number)
            ranks = {
                name: -math.inf if math.isnan(number) else sign * number
                for name, number in values.items()
            }
            answers.append(all(ranks[winner] > ranks[name] for name in losers))
            numbers = ", ".join(
                f"{TITLES[name]} {_number(number, metric)}"
                for name, number in values.items()
            )
            seen.append(f"{what} {METRIC_TITLES[metric]}: {numbers}")
        measured = _measured(
            f"last {METRIC_TITLES[metric]} (best)",
            metric,
            {name: tuple(numbers) for name, numbers in found.items()},
        )
        return Verdict(_agreed(answers), "; ".join(seen), (measured,))

    return Rule(
        f"{_extreme(metric)} {METRIC_TITLES[metric]} for {TITLES[winner]} than for "
        f"{_listed(losers)}, at best and in the last epoch",
        rule,
    )


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
        measured = Measured(
            f"epoch in which {METRIC_TITLES[metric]} is near its end",
            {name: (epochs[name],) for name in names},
            lambda epoch: f"{epoch:.3g}" if math.isfinite(epoch) else "never",
        )
        if epochs[winner] == others:
            return Verdict(CANT_TELL, evidence, (measured,))
        answer = _agreed([epochs[winner] < others])
        return Verdict(answer, evidence, (measured,))

    return Rule(
        f"{TITLES[winner]}'s {METRIC_TITLES[metric]} gets sooner than "
        f"that of {_listed(losers)} to nearly what the slowest reaches",
        rule,
    )


def oscillates_more(name: str, others: Sequence[str], metric: str) -> Rule:
    """Return the rule for "`name` oscillates more than `others`"."""

    def rule(histories: Histories) -> Verdict:
        return _compare_oscillations(
            {each: oscillation(histories[each], metric) for each in (name, *others)},
            metric,
        )

    return Rule(
        f"after epoch {SETTLED}, {TITLES[name]}'s steps of {METRIC_TITLES[metric]} "
        f"spread at least {CLEARLY:g} times as far as those of {_listed(others)}",
        rule,
    )


def _compare_oscillations(values: Mapping[str, float], metric: str) -> Verdict:
    """Judge that the first of `values` is clearly the largest."""
    first, *rest = values.values()
    numbers = ", ".join(f"{TITLES[key]} {value:.3g}" for key, value in values.items())
    what = f"standard deviation of the steps of {METRIC_TITLES[metric]}"
    if any(math.isnan(value) for value in values.values()):
        return Verdict(CANT_TELL, f"diverged, or fewer than {SETTLED + 3} epochs")
    measured = Measured(
        what, {key: (value,) for key, value in values.items()}, "{:.3g}".format
    )
    answer = CANT_TELL
    if all(first >= CLEARLY * value for value in rest):
        answer = SUPPORTED
    elif any(first < value for value in rest):
        answer = NOT_SUPPORTED
    return Verdict(answer, f"{what}: {numbers}", (measured,))


def as_steady(name: str, other: str, metric: str) -> Rule:
    """Return the rule for "`name` is as steady as `other`": not clearly less so."""

    def rule(histories: Histories) -> Verdict:
        values = {each: oscillation(histories[each], metric) for each in (name, other)}
        verdict = _compare_oscillations(values, metric)
        if math.isnan(values[name]) or math.isnan(values[other]):
            return verdict
        answer = values[name] < CLEARLY * values[other]
        return replace(verdict, answer=_agreed([answer]))

    return Rule(
        f"after epoch {SETTLED}, {TITLES[name]}'s steps of {METRIC_TITLES[metric]} "
        f"spread less than {CLEARLY:g} times as far as those of {TITLES[other]}",
        rule,
    )


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
            (
                Measured(
                    f"largest change of test accuracy from epoch {epoch} on, in points",
                    {name: (jump,)},
                    "{:.2f}".format,
                ),
            ),
        )

    return Rule(
        f"from epoch {epoch} on, no change of {TITLES[name]}'s test accuracy by more "
        f"than {STEADY_POINTS:g} points between two epochs",
        rule,
    )


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
            (
                _measured(
                    f"last {METRIC_TITLES[metric]}",
                    metric,
                    {name: [value] for name, value in last.items()},
                ),
            ),
        )

    return Rule(
        f"last {METRIC_TITLES[metric]} of {_listed(names)} less than "
        f"{SIMILAR_POINTS:g} points apart",
        rule,
    )


def learns(names: Sequence[str]) -> Rule:
    """Return the rule for "`names` learn the training data" by the last epoch."""

    def rule(histories: Histories) -> Verdict:
        last = {name: histories[name]["accuracy"][-1] for name in names}
        numbers = ", ".join(
            f"{TITLES[name]} {_number(value, 'accuracy')}"
            for name, value in last.items()
        )
        return Verdict(
            SUPPORTED if min(last.values()) >= LEARNT else NOT_SUPPORTED,
            f"last training accuracy: {numbers} (learnt: at least {100 * LEARNT:g} %)",
            (
                _measured(
                    "last training accuracy",
                    "accuracy",
                    {name: [value] for name, value in last.items()},
                ),
            ),
        )

    return Rule(
        f"last training accuracy of {_listed(names)} at least {100 * LEARNT:g} %",
        rule,
    )


def every(*rules: Rule) -> Rule:
    """Return the rule that all of `rules` are supported."""

    def rule(histories: Histories) -> Verdict:
        verdicts = [each(histories) for each in rules]
        answers = {verdict.answer for verdict in verdicts}
        evidence = "; ".join(verdict.evidence for verdict in verdicts)
        measured = _joined(verdict.measured for verdict in verdicts)
        for answer in (NOT_SUPPORTED, CANT_TELL):
            if answer in answers:
                return Verdict(answer, evidence, measured)
        return Verdict(SUPPORTED, evidence, measured)

    return Rule(
        "; and ".join(each.words for each in rules),
        rule,
    )


def _joined(parts: Iterable[tuple[Measured, ...]]) -> tuple[Measured, ...]:
    """Join what several rules measured under one name, unless they contradict."""
    joined: list[Measured] = []
    for each in itertools.chain(*parts):
        for place, other in enumerate(joined):
            both = each.values.keys() & other.values.keys()
            if each.name == other.name and all(
                each.values[name] == other.values[name] for name in both
            ):
                joined[place] = replace(other, values={**other.values, **each.values})
                break
        else:
            joined.append(each)
    return tuple(joined)


def _extreme(metric: str) -> str:
    return "lower" if metric.endswith("loss") else "higher"


def _listed(names: Sequence[str]) -> str:
    *most, last = (TITLES[name] for name in names)
    return f"{', '.join(most)} and {last}" if most else last


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
            "All three lower the training loss and raise the training accuracy well.",
            learns(("gravity", "adam", "rmsprop")),
        ),
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
            # What "big" is can't be tested; the verdict shows the points.
            "Gravity's test accuracy is above Adam's; the paper calls it a big "
            "difference.",
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
