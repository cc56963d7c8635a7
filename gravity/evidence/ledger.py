"""The paper's claims, all of them in one list, each with what decides it.

Three kinds: claims about the algorithm, which a computation with `gravity.kinematics`
decides; claims about training, which a rule on histories decides, the authors' and
ours; and claims about the best value of an argument, on which only our own tries say
anything. No verdict is typed.
"""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gravity import kinematics
from gravity.book import prose
from gravity.evidence import learning
from gravity.evidence.audit import misfits
from gravity.evidence.claims import (
    CANT_TELL,
    FAILS_REDUCED,
    FIGURES,
    HOLDS_REDUCED,
    LEARNT,
    NOT_SUPPORTED,
    PAIR_CLAIMS,
    SETTLED,
    SIMILAR_POINTS,
    SUPPORTED,
    Claim,
    Rule,
    Verdict,
    best,
    better,
    beyond_chance,
    every,
    faster,
    oscillates_more,
    oscillation,
    over_seeds,
)
from gravity.evidence.comparison import FEWEST_SEEDS
from gravity.evidence.published import Published
from gravity.experiments.datasets import DATASETS
from gravity.experiments.experiment import (
    OPTIMIZERS,
    PAPER_LEARNING_RATES,
    PAPER_OPTIMIZERS,
    TITLES,
    paper_experiment,
)
from gravity.experiments.runs import History, Run

if TYPE_CHECKING:
    from IPython.display import Markdown

Pair = tuple[str, str]
"""A dataset and an architecture."""

Key = tuple[str, str, str]
"""A dataset, an architecture and an optimizer."""

Evidence = Mapping[Key, History]
"""One history for each of the paper's runs that there is, all of one seed."""

PAIRS: Sequence[Pair] = tuple(PAIR_CLAIMS)
"""The paper's ten pairs, in its order."""


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


# ----- Claims about the algorithm --------------------------------------------


def _answer(holds: object) -> str:
    return SUPPORTED if holds else NOT_SUPPORTED


def small_gradients_are_descent() -> Verdict:
    """Compare the steps of Eq. 13 and Eq. 14 at a small gradient."""
    g, rate = 1e-3, 0.1
    step = kinematics.gravity_step(g, rate)
    ratio = float(step / kinematics.gradient_descent_step(g, rate))
    return Verdict(
        _answer(abs(ratio - 1) < 1e-5),
        f"at g = {g:g} the step is {ratio:.6f} of gradient descent's",
    )


def longest_step_is_at_one() -> Verdict:
    """Look for the gradient with the longest step of Eq. 13, for three rates."""
    g = np.linspace(0, 5, 50001)
    places = {
        rate: float(g[np.argmax(np.abs(kinematics.gravity_step(g, rate)))])
        for rate in (0.1, 0.25, 1.0)
    }
    found = ", ".join(f"{place:.3f} for l = {rate:g}" for rate, place in places.items())
    return Verdict(
        _answer(all(abs(place - 1) < 1e-3 for place in places.values())),
        f"the longest step is at g = {found}",
    )


def _span(numbers: Iterable[float], form: str) -> str:
    ends = dict.fromkeys(format(end(numbers), form) for end in (min, max))
    return " to ".join(ends)


def steps_are_bounded() -> Verdict:
    """Compare the longest step of Eq. 18 over twelve decades with Eq. 19."""
    g, rate = np.logspace(-6, 6, 12001), 0.1
    shares = [
        float(
            np.max(np.abs(kinematics.gravity_step(g, rate, m)))
            / kinematics.largest_step(rate, m)
        )
        for m in (0.5, 1.25, 2.0)
    ]
    return Verdict(
        _answer(all(0.9999 < share <= 1 + 1e-12 for share in shares)),
        f"the longest of {len(g):,} steps is {_span(shares, '.5f')} of l m / 2",
    )


def longest_step_is_at_m() -> Verdict:
    """Look for the gradient with the longest step of Eq. 18, for three m."""
    g = np.linspace(0, 10, 100001)
    ratios = [
        float(g[np.argmax(np.abs(kinematics.gravity_step(g, 0.1, m)))] / m)
        for m in (0.5, 1.25, 2.0)
    ]
    return Verdict(
        _answer(all(abs(ratio - 1) < 1e-3 for ratio in ratios)),
        f"the longest step is at {_span(ratios, '.4f')} m",
    )


def larger_m_widens() -> Verdict:
    """Compare the linear region and the longest step of two m."""
    g, rate = np.linspace(1e-4, 5, 50000), 0.1
    descent = kinematics.gradient_descent_step(g, rate)
    widths, steps = [], []
    for m in (1.25, 2.0):
        kept = kinematics.gravity_step(g, rate, m) / descent
        widths.append(float(g[kept >= 0.9][-1]))
        steps.append(float(kinematics.largest_step(rate, m)))
    return Verdict(
        _answer(widths[0] < widths[1] and steps[0] < steps[1]),
        f"from m = 1.25 to m = 2 the gradient up to which steps keep 90 % of gradient "
        f"descent's goes from {widths[0]:.3f} to {widths[1]:.3f}, the longest step for "
        f"l = {rate:g} from {steps[0]:g} to {steps[1]:g}",
    )


def descent_diverges_where_gravity_does_not() -> Verdict:
    """Roll down a parabola whose curvature is too large for the learning rate."""
    rate, curvature, updates = 0.1, 30.0, 200
    descent, gravity, farthest = 1.0, 1.0, 0.0
    for _ in range(updates):
        descent += float(kinematics.gradient_descent_step(curvature * descent, rate))
        gravity += float(kinematics.gravity_step(curvature * gravity, rate))
        farthest = max(farthest, abs(gravity))
    return Verdict(
        _answer(abs(descent) > 1e6 and farthest <= 1),
        f"on a parabola with l times curvature = {rate * curvature:g}, from W = 1: "
        f"after {updates} steps gradient descent is at {descent:.1e}, and Gravity "
        f"never farther out than {farthest:.3f}",
    )


def own_m_limits_steep_weights() -> Verdict:
    """Compare the steepest weight's step under Eq. 20 with gradient descent's."""
    steepest = np.array([0.1, 1.0, 10.0, 100.0])
    shares = [
        float(
            kinematics.gravity_step(g, 0.1, kinematics.max_step_gradient(g))
            / kinematics.gradient_descent_step(g, 0.1)
        )
        for g in steepest
    ]
    lengths = shares * steepest
    found = ", ".join(f"{share:.2g}" for share in shares)
    return Verdict(
        _answer((np.diff(lengths[1:]) < 0).all() and shares[1] <= 0.5),
        "for a largest gradient of 0.1, 1, 10 and 100 that weight's step is "
        f"{found} of gradient descent's: the limit acts on gradients above 1, and "
        "leaves smaller ones as they are",
    )


def own_m_is_the_complementary_angle() -> Verdict:
    """Compare Eq. 20 with the tangent of the steepest angle's complement."""
    G = np.array([0.02, -3.0, 1.5])
    steepest = np.max(np.abs(kinematics.slope_angle(G)))
    geometric = math.tan(math.pi / 2 - steepest)
    m = float(kinematics.max_step_gradient(G))
    return Verdict(
        _answer(math.isclose(m, geometric, rel_tol=1e-12)),
        f"for a largest gradient of 3 both are {m:.6f} and {geometric:.6f}",
    )


def averages_reach_back() -> Verdict:
    """Compare Eq. 24 with the time in which a value's weight falls to 1/e."""
    found, close = [], []
    for beta in (0.9, 0.99):
        count = float(kinematics.averaged_count(beta))
        decay = -1 / math.log(beta)
        close.append(abs(decay / count - 1) < 0.1)
        found.append(f"{decay:.1f} updates for β = {beta:g}, where 1/(1−β) = {count:g}")
    return Verdict(_answer(all(close)), f"it falls to 1/e in {', '.join(found)}")


def beta_hat_weighs_all_alike() -> Verdict:
    """Find the weight that each value has in the average with β = 1, Table 2."""
    updates = 16
    values = np.eye(updates + 1)
    V = values[0]
    for t in range(updates):
        beta = kinematics.effective_beta(t, 1.0)
        V = np.asarray(kinematics.moving_average(V, values[t + 1], beta))
    return Verdict(
        _answer(np.allclose(V, 1 / (updates + 1), rtol=1e-12)),
        f"after {updates} updates each of the {updates + 1} values has a weight of "
        f"{_span(V, '.5f')}; 1/{updates + 1} is {1 / (updates + 1):.5f}",
    )


def beta_hat_tends_to_beta() -> Verdict:
    """Follow Eq. 26 with β = 0.9."""
    near = next(t for t in range(10**6) if kinematics.effective_beta(t) > 0.89)
    late = float(kinematics.effective_beta(10**6))
    return Verdict(
        _answer(abs(late - 0.9) < 1e-5),
        f"for β = 0.9 it starts at {kinematics.effective_beta(0):g}, passes 0.89 at "
        f"t = {near} and is {late:.6f} at t = 1,000,000",
    )


def beta_hat_starts_sooner() -> Verdict:
    """Count the updates until the average of ones has reached 0.9."""
    counts = []
    for varies in (False, True):
        V, t = 0.0, 0
        while V < 0.9:
            beta = float(kinematics.effective_beta(t)) if varies else 0.9
            V = float(kinematics.moving_average(V, 1.0, beta))
            t += 1
        counts.append(t)
    return Verdict(
        _answer(counts[1] < counts[0]),
        "with equal gradient terms and no initial velocity, the velocity is at 90 % "
        f"after {counts[0]} updates with β = 0.9 and after {counts[1]} with β̂",
    )


def printed_correction_overflows() -> Verdict:
    """Iterate Eq. 25 as printed, in single precision."""
    found = {}
    one: kinematics.Number = np.ones((), dtype=np.float32)
    for beta in (0.9, 0.99, 0.999):
        V, peak = 0 * one, 0.0
        with np.errstate(over="ignore"):
            for t in range(1, 1001):
                V = kinematics.bias_corrected_average(V, one, beta, t)
                peak = max(peak, float(V))
        found[beta] = peak
    words = ", ".join(
        f"{beta:g}: {peak:.2g}" if math.isfinite(peak) else f"{beta:g}: overflow"
        for beta, peak in found.items()
    )
    return Verdict(
        _answer(math.isinf(found[0.999])),
        f"averaging ones in single precision, the largest value for each β is {words}. "
        "It comes of putting the corrected velocity into the next step; with the "
        "uncorrected one, as in Adam, the average stays at 1",
    )


def first_update_weighs_alike() -> Verdict:
    """Compare the weights of V₀ in Eq. 28 and in Algorithm 1 as printed."""
    equation, algorithm = (float(kinematics.effective_beta(t)) for t in (0, 1))
    evidence = (
        f"the initial velocity has a weight of {equation:.3f} where counting starts at "
        f"0, as in Eq. 28 and Table 2, and of {algorithm:.3f} where it starts at 1, as "
        "Algorithm 1 is printed"
    )
    if math.isclose(equation, algorithm):
        return Verdict(_answer(math.isclose(equation, 0.5)), evidence)
    return Verdict(CANT_TELL, f"the paper has two versions: {evidence}")


def alpha_sets_the_first_step() -> Verdict:
    """Find the share of weights that the initial velocity moves by less than α/2."""
    alpha, rate = 0.01, 0.1
    sigma = float(kinematics.velocity_std(alpha, rate))
    bound = abs(float(kinematics.first_step_parts(sigma, 0.0, rate)[0]))
    share = math.erf(bound / (rate * sigma / 2) / math.sqrt(2))
    whole = float(kinematics.noise_displacement_std(1.0, 100_000))
    return Verdict(
        _answer(math.isclose(bound, alpha / 2) and abs(share - 0.68) < 0.005),
        f"{100 * share:.1f} % stay below {bound:g} = α/2; all updates together move "
        f"them by a standard deviation of {whole:.2f} α",
    )


# ----- Claims about several pairs --------------------------------------------


def _title(pair: Pair) -> str:
    return f"{DATASETS[pair[0]].real_title} × {TITLES[pair[1]]}"


def _of(pair: Pair, evidence: Evidence) -> dict[str, History]:
    return {
        name: evidence[(*pair, name)]
        for name in PAPER_OPTIMIZERS
        if (*pair, name) in evidence
    }


def _complete(evidence: Evidence) -> list[Pair]:
    return [pair for pair in PAIRS if len(_of(pair, evidence)) == len(PAPER_OPTIMIZERS)]


def in_most(holding: int, count: int) -> str:
    """Return the answer to a claim about all cases that holds in some of them.

    It is supported when a fair coin would hold as often in less than 5 % of all cases
    (nine of ten), and not supported when it holds in no more than half.
    """
    if count and beyond_chance(holding, count):
        return SUPPORTED
    return CANT_TELL if not count or 2 * holding > count else NOT_SUPPORTED


def steadiest(evidence: Evidence) -> Verdict:
    """Count the pairs in which Gravity's test curves jump least."""
    calmer: Counter[str] = Counter()
    pairs = []
    for pair in _complete(evidence):
        steps = {
            name: [
                oscillation(history, metric) for metric in ("val_loss", "val_accuracy")
            ]
            for name, history in _of(pair, evidence).items()
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
        if "gravity" in (histories := _of(pair, evidence))
    }
    if not last:
        return Verdict(CANT_TELL, "no run with Gravity")
    worst = min(last, key=lambda pair: last[pair])
    return Verdict(
        _answer(last[worst] >= LEARNT),
        f"the lowest last training accuracy in {len(last)} pairs is "
        f"{100 * last[worst]:.1f} %, of {_title(worst)}",
    )


def acceptable(evidence: Evidence) -> Verdict:
    """Count the pairs in which Gravity's best test accuracy is near the best one."""
    behind = {}
    for pair in _complete(evidence):
        values = {
            name: 100 * best(history, "val_accuracy")
            for name, history in _of(pair, evidence).items()
        }
        behind[pair] = max(values.values()) - values["gravity"]
    near = sum(value < SIMILAR_POINTS for value in behind.values())
    farthest = max(behind, key=lambda pair: behind[pair], default=None)
    most = (
        f", at most {behind[farthest]:.1f}, in {_title(farthest)}" if farthest else ""
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
            verdict = Claim("", rule).judge(_of(pair, evidence))
            answers.append(verdict.answer)
            seen.append(f"{_title(pair)}: {verdict.answer}")
        for answer in (NOT_SUPPORTED, CANT_TELL):
            if answer in answers:
                return Verdict(answer, "; ".join(seen))
        return Verdict(SUPPORTED, "; ".join(seen))

    return decide


def between_depths(
    dataset: str, optimizer: str, rule: Rule
) -> Callable[[Evidence], Verdict]:
    """Return the rule that compares an optimizer's runs on VGG16 and VGG19.

    Args:
        dataset: the dataset of both.
        optimizer: the optimizer of both.
        rule: one of `gravity.evidence.claims`, with `vgg16` and `vgg19` for optimizers.
    """

    def decide(evidence: Evidence) -> Verdict:
        keys = {name: (dataset, name, optimizer) for name in ("vgg16", "vgg19")}
        missing = [TITLES[name] for name, key in keys.items() if key not in evidence]
        if missing:
            return Verdict(CANT_TELL, f"no run on {' or '.join(missing)}")
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


# ----- Claims about an argument ----------------------------------------------


def _alike(stored: Iterable[Run], argument: str) -> list[list[Run]]:
    """Gravity's runs, grouped by all that they are but for an argument and the seed."""
    groups: dict[str, list[Run]] = {}
    for run in stored:
        description = run.experiment.describe()
        if description["optimizer"] != "gravity" or not _counts(run):
            continue
        del description["seed"]
        del description["arguments"][argument]
        groups.setdefault(json.dumps(description, sort_keys=True), []).append(run)
    return [groups[key] for key in sorted(groups)]


def _counts(run: Run) -> bool:
    return run.experiment.scale in ("paper", "reduced")


def _group_title(group: Sequence[Run]) -> str:
    one = group[0].experiment
    return (
        f"{one.dataset_title} × {TITLES[one.architecture]}, width {one.width:g}, "
        f"{one.epochs} epochs, l = {one.arguments['learning_rate']:g}"
    )


def alpha_suits_most(stored: Sequence[Run]) -> Verdict:
    """Ask in how many settings a network learns with the paper's α."""
    default = OPTIMIZERS["gravity"]["alpha"]
    answers, seen = [], []
    for group in _alike(stored, "alpha"):
        own = [run for run in group if run.experiment.arguments["alpha"] == default]
        others = [run for run in group if run not in own]
        # A single run with the default alone is a try of another argument.
        if not own or len(group) == 1:
            continue
        verdict = over_seeds(lambda run: Verdict(_answer(_learnt(run)), ""), own)
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
    open_ones = answers.count(CANT_TELL)
    answer = CANT_TELL if open_ones else in_most(answers.count(SUPPORTED), len(answers))
    return Verdict(answer, "; ".join(seen) or "no run")


def _learnt(run: Run) -> bool:
    return run.history["loss"][-1] < learning.plateau(run.experiment.dataset)


def beta_is_best(stored: Sequence[Run]) -> Verdict:
    """Ask whether the paper's β has the smallest last training loss."""
    default = float(OPTIMIZERS["gravity"]["beta"])
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
        return Verdict(CANT_TELL, "no run")
    answers = {verdict.answer for verdict in verdicts}
    return Verdict(
        answers.pop() if len(answers) == 1 else CANT_TELL,
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
        return Verdict(_answer(order[0] == value), f"last training loss: {seen}")

    return judge


# ----- The list --------------------------------------------------------------

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
        lambda evidence: claim.judge(_of(pair, evidence)),
        tuple((*pair, name) for name in claim.needs),
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

    def rule(histories: Mapping[str, History]) -> Verdict:
        verdict = calmer(histories)
        if math.isnan(oscillation(histories["vgg16"], metric)):
            return verdict
        return Verdict(_answer(verdict.answer != SUPPORTED), verdict.evidence)

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
        small_gradients_are_descent,
    ),
    _computed(
        "2.1",
        "The learning rate doesn't change at which gradient the step is longest: at 1.",
        "a search over gradients, for three learning rates",
        "fig-4",
        longest_step_is_at_one,
    ),
    _computed(
        "2.2",
        "No step is longer than l m / 2.",
        "a search over gradients from a millionth to a million, for three m",
        "eq-19",
        steps_are_bounded,
    ),
    _computed(
        "2.2",
        "The step is longest where the gradient is m.",
        "a search over gradients, for three m",
        "fig-5",
        longest_step_is_at_m,
    ),
    _computed(
        "2.2",
        "A larger m treats a wider range of gradients linearly, and makes longer "
        "steps.",
        "the gradient up to which the step is within a tenth of gradient descent's, "
        "and the longest step, for two m",
        "fig-5",
        larger_m_widens,
    ),
    _computed(
        "2.2.1",
        "Where gradient descent diverges because steep weights overshoot, Gravity's "
        "bounded steps do not.",
        "both on one parabola, with a learning rate that is too large for it",
        "fig-6",
        descent_diverges_where_gravity_does_not,
    ),
    _computed(
        "2.3",
        "The choice m = 1/max(abs(G)) limits the steps of steep weights.",
        "the steepest weight's step beside gradient descent's, for four sizes of "
        "gradient",
        "eq-20",
        own_m_limits_steep_weights,
    ),
    _computed(
        "2.3",
        "That m is the tangent of the angle that the steepest one leaves to 90°.",
        "both computed for one gradient",
        "fig-complement",
        own_m_is_the_complementary_angle,
    ),
    _computed(
        "2.4",
        "A moving average with β goes over about 1/(1−β) values.",
        "the number of updates in which a value's weight falls to 1/e is within a "
        "tenth of it",
        "eq-24",
        averages_reach_back,
    ),
    _computed(
        "2.4",
        "The bias correction of Eq. 25 overflows when β is near 1.",
        "iterating the equation as it is printed",
        "fig-own-overflow",
        printed_correction_overflows,
    ),
    _computed(
        "2.4",
        "With β = 1, β̂ averages over all values that there are, as in Table 2.",
        "the weight of each value in the average",
        "eq-26",
        beta_hat_weighs_all_alike,
    ),
    _computed(
        "2.4",
        "β̂ tends to β.",
        "its value at a large t",
        "fig-8",
        beta_hat_tends_to_beta,
    ),
    _computed(
        "2.4",
        "β̂ removes the delay with which a constant β starts.",
        "the number of updates until the velocity is at 90 %",
        "fig-own-delay",
        beta_hat_starts_sooner,
    ),
    _computed(
        "2.4",
        "The first update weighs initial velocity and gradient alike.",
        "β̂ in the first update, by Eq. 28 and by Algorithm 1",
        "eq-28",
        first_update_weighs_alike,
    ),
    _computed(
        "2.4",
        "α sets the size of the first step: 68 % of the weights move by less than α/2.",
        "the displacement by the initial velocity, and the normal distribution",
        "fig-own-first-step",
        alpha_sets_the_first_step,
    ),
    Entry(
        "2.4",
        "β = 0.9 is the best value in most cases.",
        "smallest last training loss among runs that differ in β only",
        "fig-7",
        lambda _: Verdict(CANT_TELL, "no run with another β is published"),
        tries=beta_is_best,
    ),
    Entry(
        "2.4",
        "α = 0.01 suits most models.",
        "last training loss below 90 % of that of guessing, in most settings that were "
        "tried with it",
        "fig-settings",
        lambda _: Verdict(CANT_TELL, "no run with another α is published"),
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
        _title(pair): (
            *(_about(pair, claim) for claim in claims),
            *_DEPTH.get(pair, ()),
        )
        for pair, claims in PAIR_CLAIMS.items()
    },
    "Conclusion": _CONCLUSION,
}
"""The paper's claims by heading, in the paper's order."""


# ----- Verdicts --------------------------------------------------------------


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
        if _counts(run):
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


def judge_ours(entry: Entry, stored: Sequence[Run]) -> Verdict | None:
    """Return the verdict on our stored runs, or `None` for a computation.

    Each seed is judged by itself, as by `gravity.evidence.claims.over_seeds`; runs at
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
        return Verdict(CANT_TELL, some)
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


# ----- What the chapter shows ------------------------------------------------


def table(
    entries: Iterable[Entry], authors: Mapping[Key, Published], stored: Sequence[Run]
) -> "Markdown":
    """Return claims with their verdicts as a table that wraps and has links.

    Args:
        entries: of `LEDGER`.
        authors: the authors' runs.
        stored: ours; may be empty.
    """
    entries = list(entries)
    computed = "Computed, or the authors' runs"
    first = (
        computed if any(each.is_computed for each in entries) else "The authors' runs"
    )
    rows = [f"| The paper says | {first} | Our runs |", "| :--- | :--- | :--- |"]
    for entry in entries:
        ours = judge_ours(entry, stored)
        cells = (
            f"**{entry.section}** {_plain(entry.text)} [{_kind(entry.link)}]"
            f"(#{entry.link})<br>*Decided by: {_plain(entry.test)}.*",
            _cell(judge_authors(entry, authors)),
            "–" if ours is None else _cell(ours),
        )
        rows.append(f"| {' | '.join(cells)} |")
    return prose.say("\n".join(rows))


def _kind(label: str) -> str:
    return "Figure" if label.startswith("fig-") else "Equation"


def _cell(verdict: Verdict) -> str:
    return f"**{verdict.answer}**: {_plain(verdict.evidence)}."


def _plain(text: str) -> str:
    for sign in "\\|*_$<[":
        text = text.replace(sign, f"\\{sign}")
    return text


ANSWERS = (SUPPORTED, NOT_SUPPORTED, HOLDS_REDUCED, FAILS_REDUCED, CANT_TELL)
"""In the order of the tables."""


def counts(
    authors: Mapping[Key, Published], stored: Sequence[Run]
) -> dict[str, dict[str, Counter[str]]]:
    """Return how often each answer is given, by heading and by whose runs.

    Returns:
        For each heading of `LEDGER` the counters `authors` and `ours`; computations are
        in `computed`.
    """
    found: dict[str, dict[str, Counter[str]]] = {}
    for heading, entries in LEDGER.items():
        of: dict[str, Counter[str]] = {
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
