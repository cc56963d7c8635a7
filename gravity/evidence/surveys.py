"""Rules on many runs: those of several pairs, and those that try an argument."""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from gravity.evidence.claims import PAIRS, Claim, pair_title
from gravity.evidence.learning import plateau
from gravity.evidence.published import Key, Pair
from gravity.evidence.rules import (
    LEARNT,
    SIMILAR_POINTS,
    Rule,
    best,
    faster,
    oscillation,
)
from gravity.evidence.verdicts import Answer, Verdict, decided, in_most, over_seeds
from gravity.experiments.models import TITLES
from gravity.experiments.optimizers import OPTIMIZERS
from gravity.experiments.paper import PAPER_LEARNING_RATES, PAPER_OPTIMIZERS
from gravity.experiments.runs import History, Run

Evidence = Mapping[Key, History]
"""One history for each of the paper's runs that there is, all of one seed."""


# ----- Several pairs ---------------------------------------------------------


def histories_of(pair: Pair, evidence: Evidence) -> dict[str, History]:
    """Return the histories of a pair's runs, by optimizer."""
    return {
        name: evidence[(*pair, name)]
        for name in PAPER_OPTIMIZERS
        if (*pair, name) in evidence
    }


def _complete(evidence: Evidence) -> list[Pair]:
    return [
        pair
        for pair in PAIRS
        if len(histories_of(pair, evidence)) == len(PAPER_OPTIMIZERS)
    ]


def steadiest(evidence: Evidence) -> Verdict:
    """Count the pairs in which Gravity's test curves jump least."""
    calmer: Counter[str] = Counter()
    pairs = []
    for pair in _complete(evidence):
        steps = {
            name: [
                oscillation(history, metric) for metric in ("val_loss", "val_accuracy")
            ]
            for name, history in histories_of(pair, evidence).items()
        }
        if np.isnan(list(steps.values())).any():
            continue
        pairs.append(pair)
        for name in ("adam", "rmsprop"):
            calmer[name] += bool(np.less(steps["gravity"], steps[name]).all())
        calmer["both"] += bool(
            np.less(steps["gravity"], [steps["adam"], steps["rmsprop"]]).all()
        )
    return Verdict(
        in_most(calmer["both"], len(pairs)),
        f"Gravity's steps are smaller than Adam's in {calmer['adam']} of {len(pairs)} "
        f"pairs, than RMSprop's in {calmer['rmsprop']}, than both in {calmer['both']}",
    )


def learns_everywhere(evidence: Evidence) -> Verdict:
    """Find the pair in which Gravity's last training accuracy is lowest."""
    last = {
        pair: histories["gravity"]["accuracy"][-1]
        for pair in PAIRS
        if "gravity" in (histories := histories_of(pair, evidence))
    }
    if not last:
        return Verdict(Answer.CANT_TELL, "no run with Gravity")
    worst = min(last, key=lambda pair: last[pair])
    return Verdict(
        decided(last[worst] >= LEARNT),
        f"the lowest last training accuracy in {len(last)} pairs is "
        f"{100 * last[worst]:.1f} %, of {pair_title(worst)}",
    )


def acceptable(evidence: Evidence) -> Verdict:
    """Count the pairs in which Gravity's best test accuracy is near the best one."""
    behind = {}
    for pair in _complete(evidence):
        values = {
            name: 100 * best(history, "val_accuracy")
            for name, history in histories_of(pair, evidence).items()
        }
        behind[pair] = max(values.values()) - values["gravity"]
    near = sum(value < SIMILAR_POINTS for value in behind.values())
    farthest = max(behind, key=lambda pair: behind[pair], default=None)
    most = (
        f", at most {behind[farthest]:.1f}, in {pair_title(farthest)}"
        if farthest
        else ""
    )
    return Verdict(
        in_most(near, len(behind)),
        f"its best test accuracy is less than {SIMILAR_POINTS:g} points below the "
        f"highest in {near} of {len(behind)} pairs{most}",
    )


def in_each(pairs: Sequence[Pair], rule: Rule) -> Callable[[Evidence], Verdict]:
    """Return the rule that a claim about one pair holds in several."""

    def decide(evidence: Evidence) -> Verdict:
        answers, seen = [], []
        for pair in pairs:
            verdict = Claim("", rule).judge(histories_of(pair, evidence))
            answers.append(verdict.answer)
            seen.append(f"{pair_title(pair)}: {verdict.answer}")
        for answer in (Answer.NOT_SUPPORTED, Answer.CANT_TELL):
            if answer in answers:
                return Verdict(answer, "; ".join(seen))
        return Verdict(Answer.SUPPORTED, "; ".join(seen))

    return decide


def between_depths(
    dataset: str, optimizer: str, rule: Rule
) -> Callable[[Evidence], Verdict]:
    """Return the rule that compares an optimizer's runs on VGG16 and VGG19.

    Args:
        dataset: the dataset of both.
        optimizer: the optimizer of both.
        rule: one of `gravity.evidence.rules`, with `vgg16` and `vgg19` for optimizers.
    """

    def decide(evidence: Evidence) -> Verdict:
        keys = {name: (dataset, name, optimizer) for name in ("vgg16", "vgg19")}
        missing = [TITLES[name] for name, key in keys.items() if key not in evidence]
        if missing:
            return Verdict(Answer.CANT_TELL, f"no run on {' or '.join(missing)}")
        return rule({name: evidence[key] for name, key in keys.items()})

    return decide


def adam_slower_with_depth(evidence: Evidence) -> Verdict:
    """Compare how soon Adam lowers its training loss on Fashion-MNIST."""
    rule = faster("vgg16", ("vgg19",), "loss")
    verdict = between_depths("fashion_mnist", "adam", rule)(evidence)
    rates = [
        PAPER_LEARNING_RATES["fashion_mnist", name]["adam"]
        for name in ("vgg16", "vgg19")
    ]
    return Verdict(
        verdict.answer,
        f"{verdict.evidence}; but the paper's learning rate is {rates[0]:g} on VGG16 "
        f"and {rates[1]:g} on VGG19, so depth is not all that changed",
    )


# ----- An argument -----------------------------------------------------------


def _alike(stored: Iterable[Run], argument: str) -> list[list[Run]]:
    """Gravity's runs, grouped by all that they are but for an argument and the seed."""
    groups: dict[str, list[Run]] = {}
    for run in stored:
        description = run.experiment.describe()
        if description["optimizer"] != "gravity" or not is_evidence(run):
            continue
        del description["seed"]
        del description["arguments"][argument]
        groups.setdefault(json.dumps(description, sort_keys=True), []).append(run)
    return [groups[key] for key in sorted(groups)]


def is_evidence(run: Run) -> bool:
    """Return whether a run counts: those on generated data and smoke runs don't."""
    return run.experiment.scale in ("paper", "reduced")


def _group_title(group: Sequence[Run]) -> str:
    one = group[0].experiment
    return (
        f"{one.dataset_title} × {TITLES[one.architecture]}, width {one.width:g}, "
        f"{one.epochs} epochs, l = {one.arguments['learning_rate']:g}"
    )


def alpha_suits_most(stored: Sequence[Run]) -> Verdict:
    """Ask in how many settings a network learns with the paper's α."""
    default = OPTIMIZERS["gravity"].defaults["alpha"]
    answers, seen = [], []
    for group in _alike(stored, "alpha"):
        own = [run for run in group if run.experiment.arguments["alpha"] == default]
        others = [run for run in group if run not in own]
        # A single run with the default alone is a try of another argument.
        if not own or len(group) == 1:
            continue
        verdict = over_seeds(lambda run: Verdict(decided(_learnt(run)), ""), own)
        answers.append(verdict.answer)
        better_ones = sorted(
            {run.experiment.arguments["alpha"] for run in others if _learnt(run)}
        )
        seen.append(
            f"{_group_title(group)}: {sum(map(_learnt, own))} of {len(own)} "
            f"run{'s' * (len(own) > 1)} with α = {default:g} learnt"
            + "".join(f", α = {alpha:g} did" for alpha in better_ones)
        )
    # What can't be told yet may go either way.
    open_ones = answers.count(Answer.CANT_TELL)
    answer = (
        Answer.CANT_TELL
        if open_ones
        else in_most(answers.count(Answer.SUPPORTED), len(answers))
    )
    return Verdict(answer, "; ".join(seen) or "no run")


def _learnt(run: Run) -> bool:
    return run.history["loss"][-1] < plateau(run.experiment.dataset)


def beta_is_best(stored: Sequence[Run]) -> Verdict:
    """Ask whether the paper's β has the smallest last training loss."""
    default = float(OPTIMIZERS["gravity"].defaults["beta"])
    verdicts = []
    for group in _alike(stored, "beta"):
        losses: dict[int, dict[float, float]] = {}
        for run in group:
            beta = float(run.experiment.arguments["beta"])
            losses.setdefault(run.experiment.seed, {})[beta] = run.history["loss"][-1]
        complete = [
            each for each in losses.values() if default in each and len(each) > 1
        ]
        if complete:
            verdict = over_seeds(_lowest(default), complete)
            verdicts.append(
                Verdict(verdict.answer, f"{_group_title(group)}: {verdict.evidence}")
            )
    if not verdicts:
        return Verdict(Answer.CANT_TELL, "no run")
    answers = {verdict.answer for verdict in verdicts}
    return Verdict(
        answers.pop() if len(answers) == 1 else Answer.CANT_TELL,
        "; ".join(verdict.evidence for verdict in verdicts),
    )


def _lowest(value: float) -> Callable[[Mapping[float, float]], Verdict]:
    def judge(losses: Mapping[float, float]) -> Verdict:
        # A loss that isn't a number is no loss to choose.
        order = sorted(
            losses, key=lambda each: (math.isnan(losses[each]), losses[each])
        )
        seen = ", ".join(
            f"{losses[each]:.3g} with β = {each:g}" for each in sorted(losses)
        )
        return Verdict(decided(order[0] == value), f"last training loss: {seen}")

    return judge
