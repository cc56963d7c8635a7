"""`gravity.evidence.rules`: rules on histories whose answer is plain to see."""

import math

import pytest
from histories import LOW, PEAKING, RISING, SLOW, history

from gravity.evidence.claims import PAIR_CLAIMS
from gravity.evidence.rules import (
    as_steady,
    best,
    better,
    every,
    faster,
    learns,
    oscillates_more,
    oscillation,
    reached,
    similar,
    stable_from,
)
from gravity.evidence.verdicts import Answer


def jumping(size, epochs=40, level=0.5):
    """Jumps up and down by `size` from epoch to epoch."""
    return history([level + size * (epoch % 2) for epoch in range(epochs)])


@pytest.mark.parametrize(
    ("winner", "loser", "answer"),
    [
        (RISING, LOW, Answer.SUPPORTED),
        (LOW, RISING, Answer.NOT_SUPPORTED),
        (PEAKING, RISING, Answer.CANT_TELL),
        (RISING, PEAKING, Answer.CANT_TELL),
    ],
)
@pytest.mark.parametrize("metric", ["val_accuracy", "val_loss"])
def test_better_asks_best_and_last(winner, loser, answer, metric):
    rule = better("gravity", ("adam",), metric)
    assert rule({"gravity": winner, "adam": loser}).answer == answer


@pytest.mark.parametrize("end", [math.nan, math.inf])
def test_run_that_diverged_is_behind_all_others(end):
    wild = history([0.1, 0.1, 0.1], loss=[2.0, 7.0, end])
    rule = better("gravity", ("adam",), "loss")
    behind = rule({"gravity": RISING, "adam": wild})
    assert behind.answer == Answer.SUPPORTED
    assert "last training loss: Gravity 0.2, Adam diverged" in behind.evidence
    assert rule({"gravity": wild, "adam": RISING}).answer == Answer.NOT_SUPPORTED


def test_better_means_better_than_all():
    rule = better("gravity", ("adam", "rmsprop"), "accuracy")
    histories = {"gravity": RISING, "adam": LOW, "rmsprop": RISING}
    assert rule(histories).answer == Answer.NOT_SUPPORTED
    evidence = rule(histories).evidence
    assert "best training accuracy: Gravity 80.00 %, Adam 30.00 %" in evidence


@pytest.mark.parametrize(
    ("first", "second", "answer"),
    [
        (RISING, SLOW, Answer.CANT_TELL),
        (history([0.1, 0.75, 0.8]), SLOW, Answer.SUPPORTED),
        (SLOW, history([0.1, 0.75, 0.8]), Answer.NOT_SUPPORTED),
    ],
)
@pytest.mark.parametrize("metric", ["accuracy", "loss"])
def test_faster_is_sooner_at_nearly_what_the_worst_reaches(
    first, second, answer, metric
):
    # The target is 0.8 eased by a tenth of the way from 0.1: 0.73.
    verdict = faster("gravity", ("adam",), metric)({"gravity": first, "adam": second})
    assert verdict.answer == answer
    assert ("73.00 %" if metric == "accuracy" else "0.27") in verdict.evidence


def test_reached_and_best():
    assert reached(RISING, "accuracy", 0.4) == 2
    assert reached(RISING, "loss", 0.2001) == 3
    assert reached(LOW, "accuracy", 0.9) == math.inf
    assert best(PEAKING, "accuracy") == 0.9
    assert best(history([0.2], [math.nan]), "val_loss") is not None
    assert math.isnan(best(history([0.2], [math.nan]), "val_loss"))
    assert best(history([0, 0], [math.nan, 3.0]), "val_loss") == 3.0


def test_oscillation_is_measured_after_the_descent():
    # Steps of ±0.25 with as many up as down have this standard deviation.
    assert oscillation(jumping(0.25, epochs=41), "accuracy") == pytest.approx(0.25)
    descent = history([5.0 * epoch for epoch in range(20)] + [0.5] * 20)
    assert oscillation(descent, "accuracy") == 0
    assert math.isnan(oscillation(RISING, "accuracy"))


@pytest.mark.parametrize(
    ("size", "more", "steady"),
    [
        (0.2, Answer.SUPPORTED, Answer.NOT_SUPPORTED),
        (0.11, Answer.CANT_TELL, Answer.SUPPORTED),
    ],
)
def test_oscillations_are_compared_with_a_margin(size, more, steady):
    histories = {"rmsprop": jumping(size), "adam": jumping(0.1)}
    rule = oscillates_more("rmsprop", ("adam",), "val_loss")
    assert rule(histories).answer == more
    assert as_steady("rmsprop", "adam", "val_loss")(histories).answer == steady
    calm = {"rmsprop": jumping(0.05), "adam": jumping(0.1)}
    assert rule(calm).answer == Answer.NOT_SUPPORTED
    short = {"rmsprop": RISING, "adam": RISING}
    assert rule(short).answer == Answer.CANT_TELL
    assert as_steady("rmsprop", "adam", "val_loss")(short).answer == Answer.CANT_TELL


def test_stability_is_no_jump_from_that_epoch_on():
    values = [0.1, 0.5, 0.9, 0.9, 0.904, 0.9]
    assert (
        stable_from("gravity", 3)({"gravity": history(values)}).answer
        == Answer.SUPPORTED
    )
    verdict = stable_from("gravity", 2)({"gravity": history(values)})
    assert verdict.answer == Answer.NOT_SUPPORTED
    assert "40.00 points" in verdict.evidence
    assert (
        stable_from("gravity", 6)({"gravity": history(values)}).answer
        == Answer.CANT_TELL
    )


def test_similar_is_within_two_points():
    close = {"gravity": history([0.90]), "adam": history([0.919])}
    assert similar(("gravity", "adam"), "accuracy")(close).answer == Answer.SUPPORTED
    apart = {"gravity": history([0.90]), "adam": history([0.921])}
    assert (
        similar(("gravity", "adam"), "accuracy")(apart).answer == Answer.NOT_SUPPORTED
    )


def test_every_takes_the_weakest_answer():
    yes = better("gravity", ("adam",), "accuracy")
    no = better("adam", ("gravity",), "accuracy")
    unknown = oscillates_more("adam", ("gravity",), "loss")
    histories = {"gravity": RISING, "adam": LOW}
    assert every(yes, yes)(histories).answer == Answer.SUPPORTED
    assert every(yes, unknown)(histories).answer == Answer.CANT_TELL
    assert every(unknown, no)(histories).answer == Answer.NOT_SUPPORTED


def test_several_rules_share_a_line_unless_they_contradict():
    low, mid, high = ({"loss": [2.0, x]} for x in (0.1, 0.2, 0.3))
    seed = {"gravity": low, "rmsprop": mid, "adam": high}
    rule = every(
        better("gravity", ("adam",), "loss"), better("rmsprop", ("adam",), "loss")
    )
    (measured,) = rule(seed).measured
    assert measured.values == {
        "gravity": (0.1, 0.1),
        "adam": (0.3, 0.3),
        "rmsprop": (0.2, 0.2),
    }
    # Each comparison has a target of its own, which Adam reaches in another epoch.
    seed["adam"] = {"loss": [2.0, 0.6, 0.3]}
    seed["rmsprop"] = {"loss": [2.0, 0.7, 0.7]}
    seed["gravity"] = {"loss": [2.0, 0.3, 0.3]}
    rule = every(
        faster("gravity", ("adam",), "loss"), faster("rmsprop", ("adam",), "loss")
    )
    first, second = rule(seed).measured
    assert (first.values["adam"], second.values["adam"]) == ((3,), (2,))


def test_learning_is_a_last_accuracy():
    rule = learns(("gravity", "adam"))
    answers = {0.95: Answer.SUPPORTED, 0.949: Answer.NOT_SUPPORTED}
    for accuracy, answer in answers.items():
        histories = {"gravity": history([0.2, accuracy]), "adam": history([1, 0.99])}
        assert rule(histories).answer == answer


def test_rules_say_in_words_what_they_ask():
    assert better("gravity", ("adam", "rmsprop"), "val_loss").words == (
        "lower test loss for Gravity than for Adam and RMSprop, at best and in the "
        "last epoch"
    )
    rules = (stable_from("gravity", 60), similar(("adam", "rmsprop"), "accuracy"))
    assert every(*rules).words == "; and ".join(each.words for each in rules)
    for claims in PAIR_CLAIMS.values():
        assert all(len(claim.rule.words) > 20 for claim in claims)
