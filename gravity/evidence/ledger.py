"""The paper's claims, all of them in one list, each with what decides it.

Three kinds: claims about the algorithm, which a computation with `gravity.kinematics`
decides; claims about training, which a rule on histories decides, the authors' and
ours; and claims about the best value of an argument, on which only our own tries say
anything. No verdict is typed.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gravity.evidence import computations
from gravity.evidence.claims import (
    FIGURES,
    PAIR_CLAIMS,
    PAIRS,
    Claim,
    pair_title,
)
from gravity.evidence.published import Key, Pair
from gravity.evidence.rules import (
    LEARNT,
    SETTLED,
    SIMILAR_POINTS,
    Histories,
    Rule,
    better,
    every,
    faster,
    oscillates_more,
    oscillation,
)
from gravity.evidence.surveys import (
    Evidence,
    acceptable,
    adam_slower_with_depth,
    alpha_suits_most,
    beta_is_best,
    between_depths,
    histories_of,
    in_each,
    learns_everywhere,
    steadiest,
)
from gravity.evidence.verdicts import Answer, Verdict, decided
from gravity.experiments.paper import PAPER_OPTIMIZERS
from gravity.experiments.runs import Run


@dataclass(frozen=True)
class Entry:
    """A claim of the paper in the ledger.

    Attributes:
        section: where the paper makes it.
        text: the claim in the book's own words.
        test: what decides it, as a phrase.
        link: the label of the figure or equation that shows it.
        decide: returns the verdict on the evidence of one seed; a computation ignores
            the evidence.
        needs: the runs that it reads; none for a computation.
        tries: instead of `decide`, for a claim about an argument: the verdict on all
            our stored runs. The authors published no run with another value.
    """

    section: str
    text: str
    test: str
    link: str
    decide: Callable[[Evidence], Verdict]
    needs: tuple[Key, ...] = ()
    tries: Callable[[Sequence[Run]], Verdict] | None = None

    @property
    def is_computed(self) -> bool:
        """Whether a computation decides it, without any run."""
        return not self.needs and self.tries is None


_RUNS = tuple((*pair, name) for pair in PAIRS for name in PAPER_OPTIMIZERS)
_FINE = tuple(pair for pair in PAIRS if pair[0] == "cifar100_fine")
_COARSE = tuple(pair for pair in PAIRS if pair[0] == "cifar100_coarse")
_HIGHEST = better("gravity", ("adam", "rmsprop"), "val_accuracy")
_NUMBERS = {
    dataset: number
    for number, dataset in enumerate(dict.fromkeys(name for name, _ in PAIRS), start=1)
}


def section_of(pair: Pair) -> str:
    """Return the number of the section about a pair; the paper prints 4.3.1 twice."""
    return f"4.{_NUMBERS[pair[0]]}.{1 if pair[1] == 'vgg16' else 2}"


def _computed(
    section: str, text: str, test: str, link: str, compute: Callable[[], Verdict]
) -> Entry:
    return Entry(section, text, test, link, lambda _: compute())


def _about(pair: Pair, claim: Claim) -> Entry:
    return Entry(
        section_of(pair),
        claim.text,
        claim.rule.words,
        f"fig-{FIGURES[pair]}",
        lambda evidence: claim.judge(histories_of(pair, evidence)),
        tuple((*pair, name) for name in PAPER_OPTIMIZERS),
    )


def _depths(dataset: str, optimizer: str, text: str, rule: Rule) -> Entry:
    pair = (dataset, "vgg19")
    return Entry(
        section_of(pair),
        text,
        rule.words,
        f"fig-{FIGURES[pair]}",
        between_depths(dataset, optimizer, rule),
        tuple((dataset, name, optimizer) for name in ("vgg16", "vgg19")),
    )


def _not_clearly_calmer(metric: str) -> Rule:
    """The rule for "it did not settle with depth", the denial of the one for less."""
    calmer = oscillates_more("vgg16", ("vgg19",), metric)

    def rule(histories: Histories) -> Verdict:
        verdict = calmer(histories)
        if math.isnan(oscillation(histories["vgg16"], metric)):
            return verdict
        return Verdict(decided(verdict.answer != Answer.SUPPORTED), verdict.evidence)

    return Rule(f"it is not so that, {calmer.words}", rule)


_ABSTRACT = (
    Entry(
        "Abstract",
        "Gravity needs no other arguments from one network or dataset to the next.",
        "with the same arguments in all pairs, every last training accuracy is at "
        f"least {100 * LEARNT:g} %",
        "fig-18",
        learns_everywhere,
        tuple(key for key in _RUNS if key[2] == "gravity"),
    ),
    Entry(
        "Abstract",
        "Gravity is steadier than Adam and RMSprop.",
        f"after epoch {SETTLED}, its steps of test loss and of test accuracy spread "
        "less than those of both others, in so many pairs that a coin would do it in "
        "less than 5 % of all cases",
        "fig-evidence-steps",
        steadiest,
        _RUNS,
    ),
    Entry(
        "Abstract",
        "With many classes, as in CIFAR-100 (fine), Gravity gets to higher test "
        "accuracies than Adam and RMSprop.",
        f"in both pairs of CIFAR-100 (fine): {_HIGHEST.words}",
        "fig-evidence-fine",
        in_each(_FINE, _HIGHEST),
        tuple(key for key in _RUNS if key[:2] in _FINE),
    ),
    Entry(
        "Abstract",
        "The same holds for all datasets with more than ten classes, of which there "
        "are two.",
        f"in both pairs of CIFAR-100 (coarse) and both of (fine): {_HIGHEST.words}",
        "fig-16",
        in_each((*_COARSE, *_FINE), _HIGHEST),
        tuple(key for key in _RUNS if key[:2] in (*_COARSE, *_FINE)),
    ),
)

_ALGORITHM = (
    _computed(
        "2.1",
        "For small gradients Gravity is gradient descent.",
        "the ratio of their steps at a small gradient is 1",
        "fig-3",
        computations.small_gradients_are_descent,
    ),
    _computed(
        "2.1",
        "The learning rate doesn't change at which gradient the step is longest: at 1.",
        "a search over gradients, for three learning rates",
        "fig-4",
        computations.longest_step_is_at_one,
    ),
    _computed(
        "2.2",
        "No step is longer than l m / 2.",
        "a search over gradients from a millionth to a million, for three m",
        "eq-19",
        computations.steps_are_bounded,
    ),
    _computed(
        "2.2",
        "The step is longest where the gradient is m.",
        "a search over gradients, for three m",
        "fig-5",
        computations.longest_step_is_at_m,
    ),
    _computed(
        "2.2",
        "A larger m treats a wider range of gradients linearly, and makes longer "
        "steps.",
        "the gradient up to which the step is within a tenth of gradient descent's, "
        "and the longest step, for two m",
        "fig-5",
        computations.larger_m_widens,
    ),
    _computed(
        "2.2.1",
        "Where gradient descent diverges because steep weights overshoot, Gravity's "
        "bounded steps do not.",
        "both on one parabola, with a learning rate that is too large for it",
        "fig-6",
        computations.descent_diverges_where_gravity_does_not,
    ),
    _computed(
        "2.3",
        "The choice m = 1/max(abs(G)) limits the steps of steep weights.",
        "the steepest weight's step beside gradient descent's, for four sizes of "
        "gradient",
        "eq-20",
        computations.own_m_limits_steep_weights,
    ),
    _computed(
        "2.3",
        "That m is the tangent of the angle that the steepest one leaves to 90°.",
        "both computed for one gradient",
        "fig-complement",
        computations.own_m_is_the_complementary_angle,
    ),
    _computed(
        "2.4",
        "A moving average with β goes over about 1/(1−β) values.",
        "the number of updates in which a value's weight falls to 1/e is within a "
        "tenth of it",
        "eq-24",
        computations.averages_reach_back,
    ),
    _computed(
        "2.4",
        "The bias correction of Eq. 25 overflows when β is near 1.",
        "iterating the equation as it is printed",
        "fig-own-overflow",
        computations.printed_correction_overflows,
    ),
    _computed(
        "2.4",
        "With β = 1, β̂ averages over all values that there are, as in Table 2.",
        "the weight of each value in the average",
        "eq-26",
        computations.beta_hat_weighs_all_alike,
    ),
    _computed(
        "2.4",
        "β̂ tends to β.",
        "its value at a large t",
        "fig-8",
        computations.beta_hat_tends_to_beta,
    ),
    _computed(
        "2.4",
        "β̂ removes the delay with which a constant β starts.",
        "the number of updates until the velocity is at 90 %",
        "fig-own-delay",
        computations.beta_hat_starts_sooner,
    ),
    _computed(
        "2.4",
        "The first update weighs initial velocity and gradient alike.",
        "β̂ in the first update, by Eq. 28 and by Algorithm 1",
        "eq-28",
        computations.first_update_weighs_alike,
    ),
    _computed(
        "2.4",
        "α sets the size of the first step: 68 % of the weights move by less than α/2.",
        "the displacement by the initial velocity, and the normal distribution",
        "fig-own-first-step",
        computations.alpha_sets_the_first_step,
    ),
    Entry(
        "2.4",
        "β = 0.9 is the best value in most cases.",
        "smallest last training loss among runs that differ in β only",
        "fig-7",
        lambda _: Verdict(Answer.CANT_TELL, "no run with another β is published"),
        tries=beta_is_best,
    ),
    Entry(
        "2.4",
        "α = 0.01 suits most models.",
        "last training loss below 90 % of that of guessing, in most settings that were "
        "tried with it",
        "fig-settings",
        lambda _: Verdict(Answer.CANT_TELL, "no run with another α is published"),
        tries=alpha_suits_most,
    ),
)

_DEPTH: Mapping[Pair, Sequence[Entry]] = {
    ("mnist", "vgg19"): (
        _depths(
            "mnist",
            "rmsprop",
            "RMSprop oscillates less on the deeper network, in test loss and test "
            "accuracy.",
            every(
                oscillates_more("vgg16", ("vgg19",), "val_loss"),
                oscillates_more("vgg16", ("vgg19",), "val_accuracy"),
            ),
        ),
        _depths(
            "mnist",
            "adam",
            "Adam's test loss oscillates more on the deeper network.",
            oscillates_more("vgg19", ("vgg16",), "val_loss"),
        ),
        _depths(
            "mnist",
            "adam",
            "Adam's test accuracy oscillates less on the deeper network.",
            oscillates_more("vgg16", ("vgg19",), "val_accuracy"),
        ),
    ),
    ("fashion_mnist", "vgg19"): (
        Entry(
            "4.2.2",
            "On the deeper network Adam lowers its training loss more slowly.",
            faster("vgg16", ("vgg19",), "loss").words,
            "fig-13",
            adam_slower_with_depth,
            tuple(("fashion_mnist", name, "adam") for name in ("vgg16", "vgg19")),
        ),
        _depths(
            "fashion_mnist",
            "rmsprop",
            "RMSprop's test loss oscillates no less on the deeper network.",
            _not_clearly_calmer("val_loss"),
        ),
    ),
    ("cifar100_fine", "vgg19"): (
        _depths(
            "cifar100_fine",
            "gravity",
            "Gravity does better on the deeper network than on VGG16.",
            every(
                better("vgg19", ("vgg16",), "val_loss"),
                better("vgg19", ("vgg16",), "val_accuracy"),
            ),
        ),
    ),
}

_CONCLUSION = (
    Entry(
        "5",
        "Gravity's results are acceptable.",
        f"best test accuracy less than {SIMILAR_POINTS:g} points below the highest of "
        "the three, in so many pairs that a coin would do it in less than 5 % of all "
        "cases",
        "fig-evidence-fine",
        acceptable,
        _RUNS,
    ),
)

LEDGER: Mapping[str, Sequence[Entry]] = {
    "Abstract": _ABSTRACT,
    "The algorithm": _ALGORITHM,
    **{
        pair_title(pair): (
            *(_about(pair, claim) for claim in claims),
            *_DEPTH.get(pair, ()),
        )
        for pair, claims in PAIR_CLAIMS.items()
    },
    "Conclusion": _CONCLUSION,
}
"""The paper's claims by heading, in the paper's order."""
