"""Rules that decide what the paper says of one figure.

A rule looks at training histories only, the authors' or ours, and answers "supported",
"not supported" or "can't tell", with the numbers that it saw. Statements about words
such as "stable" or "similar" need a threshold, which stands here.
"""

import itertools
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from gravity.evidence.verdicts import Answer, Measured, Verdict, agreed
from gravity.experiments import models, optimizers
from gravity.experiments.runs import History

Histories = Mapping[str, History]
"""One history for each optimizer, all of one seed."""

# Rules compare optimizers, and networks.
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
    if metric.endswith("loss"):
        return Measured(name, values, lambda value: _number(value, metric))
    return Measured(f"{name}, %", values, lambda value: f"{100 * value:.2f}")


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
        return Verdict(agreed(answers), "; ".join(seen), (measured,))

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
            return Verdict(Answer.CANT_TELL, evidence, (measured,))
        answer = agreed([epochs[winner] < others])
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
        return Verdict(
            Answer.CANT_TELL, f"diverged, or fewer than {SETTLED + 3} epochs"
        )
    measured = Measured(
        what, {key: (value,) for key, value in values.items()}, "{:.3g}".format
    )
    answer = Answer.CANT_TELL
    if all(first >= CLEARLY * value for value in rest):
        answer = Answer.SUPPORTED
    elif any(first < value for value in rest):
        answer = Answer.NOT_SUPPORTED
    return Verdict(answer, f"{what}: {numbers}", (measured,))


def as_steady(name: str, other: str, metric: str) -> Rule:
    """Return the rule for "`name` is as steady as `other`": not clearly less so."""

    def rule(histories: Histories) -> Verdict:
        values = {each: oscillation(histories[each], metric) for each in (name, other)}
        verdict = _compare_oscillations(values, metric)
        if math.isnan(values[name]) or math.isnan(values[other]):
            return verdict
        answer = values[name] < CLEARLY * values[other]
        return replace(verdict, answer=agreed([answer]))

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
            return Verdict(Answer.CANT_TELL, f"the run has no {epoch} epochs")
        jump = 100 * max(
            abs(after - before) for before, after in itertools.pairwise(values)
        )
        return Verdict(
            agreed([jump <= STEADY_POINTS]),
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
            agreed([spread < SIMILAR_POINTS]),
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
            Answer.SUPPORTED if min(last.values()) >= LEARNT else Answer.NOT_SUPPORTED,
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
        for answer in (Answer.NOT_SUPPORTED, Answer.CANT_TELL):
            if answer in answers:
                return Verdict(answer, evidence, measured)
        return Verdict(Answer.SUPPORTED, evidence, measured)

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
