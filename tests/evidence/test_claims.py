"""`gravity.evidence.claims`: the paper's statements about its figures."""

from histories import RISING

from gravity.evidence.claims import PAIR_CLAIMS, Claim
from gravity.evidence.rules import better
from gravity.evidence.verdicts import Answer
from gravity.experiments.paper import PAPER_LEARNING_RATES


def test_claim_without_its_runs_cannot_be_told():
    claim = Claim("text", better("gravity", ("adam",), "accuracy"))
    verdict = claim.judge({"gravity": RISING})
    assert (verdict.answer, verdict.evidence) == (
        Answer.CANT_TELL,
        "no run with Adam or RMSprop",
    )
    verdict = claim.judge({})
    assert verdict.evidence == "no run with Gravity, Adam or RMSprop"


def test_every_pair_of_the_paper_has_its_claims():
    assert PAIR_CLAIMS.keys() == PAPER_LEARNING_RATES.keys()
