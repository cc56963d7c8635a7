"""`gravity.evidence.verdicts`: what several seeds say together."""

import pytest
from histories import LOW, RISING, history
from scipy import stats

from gravity.evidence.claims import Claim
from gravity.evidence.rules import better, stable_from
from gravity.evidence.verdicts import (
    Answer,
    Verdict,
    beyond_chance,
    in_most,
    over_seeds,
)


def test_each_seed_is_judged_by_itself():
    answers = iter([Answer.SUPPORTED] * 7 + [Answer.NOT_SUPPORTED])
    verdict = over_seeds(lambda _: Verdict(next(answers), ""), range(8))
    assert verdict.answer == Answer.SUPPORTED
    assert verdict.evidence == "7 of 8 seeds say so, 1 say the opposite"


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([Answer.SUPPORTED] * 5, Answer.SUPPORTED),
        ([Answer.NOT_SUPPORTED] * 5, Answer.NOT_SUPPORTED),
        ([Answer.SUPPORTED] * 4 + [Answer.CANT_TELL], Answer.CANT_TELL),
        ([Answer.SUPPORTED] * 6 + [Answer.NOT_SUPPORTED], Answer.CANT_TELL),
        ([Answer.SUPPORTED] * 4, Answer.CANT_TELL),
        ([], Answer.CANT_TELL),
    ],
)
def test_seeds_must_agree_beyond_chance(answers, expected):
    verdict = over_seeds(lambda answer: Verdict(answer, "0.5"), answers)
    assert verdict.answer == expected


def test_few_seeds_show_their_points_and_claim_nothing():
    claim = Claim("text", better("gravity", ("adam",), "accuracy"))
    verdict = over_seeds(
        claim.judge, [{"gravity": RISING, "adam": LOW, "rmsprop": LOW}]
    )
    assert verdict.answer == Answer.CANT_TELL
    assert verdict.evidence.startswith("one seed, too few to claim anything; best tr")
    assert "Gravity 80.00 %, Adam 30.00 %" in verdict.evidence
    verdict = over_seeds(lambda _: Verdict(Answer.SUPPORTED, "0.5"), range(4))
    assert verdict.evidence == "4 seeds, too few to claim anything; 0.5"
    verdict = over_seeds(lambda seed: Verdict(Answer.SUPPORTED, f"0.{seed}"), range(2))
    assert verdict.evidence == "2 seeds, too few to claim anything; (1) 0.0; (2) 0.1"


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([Answer.SUPPORTED] * 3, Answer.HOLDS_REDUCED),
        ([Answer.NOT_SUPPORTED] * 4, Answer.FAILS_REDUCED),
        ([Answer.SUPPORTED] * 2, Answer.CANT_TELL),
        # At the paper's scale six of seven would decide as little.
        ([Answer.SUPPORTED] * 9 + [Answer.NOT_SUPPORTED], Answer.CANT_TELL),
        ([Answer.SUPPORTED] * 3 + [Answer.CANT_TELL], Answer.CANT_TELL),
    ],
)
def test_at_reduced_scale_all_seeds_must_agree(answers, expected):
    verdict = over_seeds(lambda answer: Verdict(answer, "0.5"), answers, reduced=True)
    assert verdict.answer == expected


def test_what_keeps_all_seeds_from_telling_is_said_once():
    short = {"gravity": RISING}
    verdict = over_seeds(stable_from("gravity", 60), [short] * 3, reduced=True)
    assert verdict == Verdict(Answer.CANT_TELL, "the run has no 60 epochs")


def test_numbers_of_several_seeds_are_their_mean():
    rule = better("gravity", ("adam",), "accuracy")
    seeds = [
        {"gravity": history([0.1, 0.9, 0.7]), "adam": history([0.1, 0.2, 0.3])},
        {"gravity": history([0.1, 0.5, 0.3]), "adam": history([0.1, 0.2, 0.4])},
    ]
    (measured,) = over_seeds(rule, seeds).measured
    assert measured.name == "last training accuracy (best), %"
    assert measured.values["gravity"] == pytest.approx((0.5, 0.7))
    assert measured.written("gravity") == "50.00 (70.00)"
    assert measured.written("adam") == "35.00 (35.00)"


def test_chance_is_that_of_the_binomial_test():
    for count in range(1, 30):
        for number in range(count + 1):
            p = stats.binomtest(number, count, alternative="greater").pvalue
            assert beyond_chance(number, count) == (p < 0.05), (number, count)


def test_most_is_beyond_chance():
    assert in_most(9, 10) == Answer.SUPPORTED
    assert in_most(8, 10) == Answer.CANT_TELL
    assert in_most(5, 10) == Answer.NOT_SUPPORTED
    assert in_most(0, 0) == Answer.CANT_TELL
