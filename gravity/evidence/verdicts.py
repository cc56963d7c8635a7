"""Verdicts: what data say of a statement, on one run or over several seeds."""

import enum
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from gravity.evidence.statistics import FEWEST_SEEDS


class Answer(enum.StrEnum):
    """What a verdict says, in the order of the tables.

    Of several seeds at less than the paper's scale a statement holds there, or fails,
    and is neither supported nor the opposite.
    """

    SUPPORTED = "supported"
    NOT_SUPPORTED = "not supported"
    HOLDS_REDUCED = "holds at reduced scale"
    FAILS_REDUCED = "fails at reduced scale"
    CANT_TELL = "can't tell"


FEWEST_REDUCED = 3
"""At reduced scale so many seeds that all agree say whether a statement holds there."""

T = TypeVar("T")


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
        answer: to whether the statement is right.
        evidence: the numbers that decided it, as a phrase.
        measured: the same as numbers. Defaults to none.
    """

    answer: Answer
    evidence: str
    measured: tuple[Measured, ...] = ()


def decided(holds: object) -> Answer:
    """Return whether a statement is supported by what holds, or doesn't."""
    return Answer.SUPPORTED if holds else Answer.NOT_SUPPORTED


def agreed(answers: Sequence[bool]) -> Answer:
    """Return the answer to a statement that has to hold in several respects."""
    if all(answers):
        return Answer.SUPPORTED
    return Answer.CANT_TELL if any(answers) else Answer.NOT_SUPPORTED


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
        return Verdict(Answer.CANT_TELL, "no run")
    measured = _averaged([verdict.measured for verdict in verdicts])
    count = len(verdicts)
    agreeing = {
        answer: sum(verdict.answer == answer for verdict in verdicts)
        for answer in (Answer.SUPPORTED, Answer.NOT_SUPPORTED)
    }
    evidence = (
        f"{agreeing[Answer.SUPPORTED]} of {count} seeds say so, "
        f"{agreeing[Answer.NOT_SUPPORTED]} say the opposite"
    )
    alike = {verdict.evidence for verdict in verdicts}
    if not any(agreeing.values()) and len(alike) == 1:
        # What keeps every seed from telling is the same: the runs are too short.
        return Verdict(Answer.CANT_TELL, alike.pop(), measured)
    if reduced and count >= FEWEST_REDUCED:
        for answer, stands_for in (
            (Answer.SUPPORTED, Answer.HOLDS_REDUCED),
            (Answer.NOT_SUPPORTED, Answer.FAILS_REDUCED),
        ):
            if agreeing[answer] == count:
                return Verdict(stands_for, evidence, measured)
        return Verdict(Answer.CANT_TELL, evidence, measured)
    if count < FEWEST_SEEDS:
        those = "one seed" if count == 1 else f"{count} seeds"
        seen = [verdict.evidence for verdict in verdicts]
        # What is the same for all is said once.
        points = seen[0]
        if len(set(seen)) > 1:
            points = "; ".join(f"({n}) {each}" for n, each in enumerate(seen, start=1))
        return Verdict(
            Answer.CANT_TELL, f"{those}, too few to claim anything; {points}", measured
        )
    for answer, number in agreeing.items():
        if beyond_chance(number, count):
            return Verdict(answer, evidence, measured)
    return Verdict(Answer.CANT_TELL, evidence, measured)


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


def in_most(holding: int, count: int) -> Answer:
    """Return the answer to a claim about all cases that holds in some of them.

    It is supported when a fair coin would hold as often in less than 5 % of all cases
    (nine of ten), and not supported when it holds in no more than half.
    """
    if count and beyond_chance(holding, count):
        return Answer.SUPPORTED
    return (
        Answer.CANT_TELL if not count or 2 * holding > count else Answer.NOT_SUPPORTED
    )
