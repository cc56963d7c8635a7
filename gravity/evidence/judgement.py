"""The ledger's claims judged by the authors' runs and by ours."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gravity.evidence.audit import misfits
from gravity.evidence.claims import PAIRS
from gravity.evidence.ledger import LEDGER, Entry
from gravity.evidence.published import Key, Pair, Published
from gravity.evidence.rules import Histories
from gravity.evidence.statistics import FEWEST_SEEDS
from gravity.evidence.surveys import Evidence, is_evidence
from gravity.evidence.verdicts import Answer, Verdict, over_seeds
from gravity.experiments.datasets import DATASETS
from gravity.experiments.experiment import paper_experiment
from gravity.experiments.paper import PAPER_OPTIMIZERS
from gravity.experiments.runs import History, Run


def fitting(authors: Mapping[Key, Published]) -> dict[Key, History]:
    """Return the histories of the runs whose network fits their dataset's classes.

    A run about which nothing is stored counts as one that fits.
    """
    odd = misfits(authors.values())
    return {key: run.history for key, run in authors.items() if run not in odd}


def judge_authors(entry: Entry, authors: Mapping[Key, Published]) -> Verdict:
    """Return the verdict on the authors' histories.

    A run whose network can't have been trained on the dataset that it stands for is
    left out. Where that changes the verdict, the evidence says what it would be with
    that run.
    """
    if entry.is_computed or entry.tries:
        return entry.decide({})
    verdict = entry.decide(fitting(authors))
    labelled = entry.decide({key: run.history for key, run in authors.items()})
    if verdict == labelled:
        return verdict
    if verdict.answer == labelled.answer:
        return Verdict(
            verdict.answer,
            f"{verdict.evidence} (the same with the run that does not fit its label)",
        )
    return Verdict(
        verdict.answer,
        f"{verdict.evidence}; with the run that does not fit its label: "
        f"{labelled.answer}, {labelled.evidence}",
    )


def own_runs(stored: Iterable[Run]) -> dict[Pair, list[Run]]:
    """Return for each of the paper's pairs our runs to judge it by.

    Runs on generated data and smoke runs don't count. Runs that differ in optimizer,
    its arguments and seed only are comparable. Of several such sets the one is taken
    that has at least five seeds of all three optimizers, then the one that differs from
    the paper's setting in the fewest respects, then the larger network and the longer
    training. In it each optimizer is represented by the arguments with most seeds, and
    of equal ones by those with the smallest mean last training loss, so that test
    values never decide.
    """
    sets: dict[tuple[Pair, str], list[Run]] = {}
    for run in stored:
        pair = (run.experiment.dataset, run.experiment.architecture)
        setting = run.experiment.describe()
        if pair not in PAIRS or setting["optimizer"] not in PAPER_OPTIMIZERS:
            continue
        if is_evidence(run):
            for name in ("optimizer", "arguments", "seed"):
                del setting[name]
            text = json.dumps(setting, sort_keys=True)
            sets.setdefault((pair, text), []).append(run)
    chosen: dict[Pair, list[Run]] = {}
    for (pair, _), runs in sorted(sets.items(), key=lambda item: _rank(item[1])):
        chosen.setdefault(pair, _representatives(runs))
    return chosen


def own_accuracies(stored: Iterable[Run]) -> dict[Key, float]:
    """Return our last test accuracies in per cent, each the mean over the seeds.

    Args:
        stored: our runs; those of `own_runs` are taken.
    """
    found: dict[Key, list[float]] = {}
    for pair, runs in own_runs(stored).items():
        for run in runs:
            accuracy = 100 * run.history["val_accuracy"][-1]
            found.setdefault((*pair, run.experiment.optimizer), []).append(accuracy)
    return {key: sum(values) / len(values) for key, values in found.items()}


def _rank(runs: Sequence[Run]) -> tuple[Any, ...]:
    one = runs[0].experiment
    seeds = [
        {run.experiment.seed for run in runs if run.experiment.optimizer == name}
        for name in PAPER_OPTIMIZERS
    ]
    shared = len(set.intersection(*seeds))
    paper = paper_experiment(one.dataset, one.architecture, one.optimizer).describe()
    own = one.describe()
    different = sum(
        own.get(name) != paper.get(name)
        for name in own.keys() | paper.keys()
        if name not in ("optimizer", "arguments", "seed")
    )
    return (shared < FEWEST_SEEDS, different, -one.width, -one.epochs)


def _representatives(runs: Sequence[Run]) -> list[Run]:
    chosen = []
    for name in PAPER_OPTIMIZERS:
        groups: dict[str, list[Run]] = {}
        for run in runs:
            if run.experiment.optimizer == name:
                text = json.dumps(run.experiment.describe()["arguments"])
                groups.setdefault(text, []).append(run)
        if groups:
            chosen += min(groups.values(), key=_preference)
    return chosen


def _preference(runs: Iterable[Run]) -> tuple[int, float]:
    losses = [run.history["loss"][-1] for run in runs]
    mean = sum(losses) / len(losses)
    return -len(losses), math.inf if math.isnan(mean) else mean


def own_evidence(chosen: Mapping[Pair, Sequence[Run]]) -> Mapping[int, Evidence]:
    """Return for each seed the histories of the runs that `own_runs` chose."""
    found: dict[int, dict[Key, History]] = {}
    for pair, runs in chosen.items():
        for run in runs:
            seed = found.setdefault(run.experiment.seed, {})
            seed[(*pair, run.experiment.optimizer)] = run.history
    return found


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


def judge_ours(entry: Entry, stored: Sequence[Run]) -> Verdict | None:
    """Return the verdict on our stored runs, or `None` for a computation.

    Each seed is judged by itself, as by `gravity.evidence.verdicts.over_seeds`; runs at
    less than the paper's scale have verdicts of their own. The evidence names the
    scale.
    """
    if entry.is_computed:
        return None
    if entry.tries:
        return entry.tries(stored)
    chosen = own_runs(stored)
    seeds = [
        evidence
        for _, evidence in sorted(own_evidence(chosen).items())
        if all(key in evidence for key in entry.needs)
    ]
    pairs = list(dict.fromkeys(key[:2] for key in entry.needs))
    if not seeds:
        there = sum(pair in chosen for pair in pairs)
        some = f"runs of {there} of {len(pairs)} pairs" if there else "no run"
        return Verdict(Answer.CANT_TELL, some)
    reduced = any(chosen[pair][0].experiment.scale != "paper" for pair in pairs)
    verdict = over_seeds(entry.decide, seeds, reduced=reduced)
    scales = dict.fromkeys(_scale(chosen[pair][0]) for pair in pairs)
    return Verdict(verdict.answer, f"{'; '.join(scales)}; {verdict.evidence}")


def _scale(run: Run) -> str:
    one = run.experiment
    images = one.train_size or DATASETS[one.dataset].train_size
    return (
        f"{one.scale} scale (width {one.width:g}, {one.epochs} epochs, "
        f"{images:,} images)"
    )


def counts(
    authors: Mapping[Key, Published], stored: Sequence[Run]
) -> dict[str, dict[str, Counter[Answer]]]:
    """Return how often each answer is given, by heading and by whose runs.

    Returns:
        For each heading of `LEDGER` the counters `authors` and `ours`; computations are
        in `computed`.
    """
    found: dict[str, dict[str, Counter[Answer]]] = {}
    for heading, entries in LEDGER.items():
        of: dict[str, Counter[Answer]] = {
            name: Counter() for name in ("computed", "authors", "ours")
        }
        for entry in entries:
            verdict = judge_authors(entry, authors)
            of["computed" if entry.is_computed else "authors"][verdict.answer] += 1
            ours = judge_ours(entry, stored)
            if ours is not None:
                of["ours"][ours.answer] += 1
        found[heading] = of
    return found
