"""`gravity.evidence.learning`: where the plateau ends."""

import pytest

from gravity.evidence import learning


def test_plateau_ends_below_nine_tenths_of_guessing():
    # 0.9 times ln 10 and ln 100.
    assert learning.plateau("digits") == pytest.approx(2.0723265837)
    assert learning.plateau("cifar100_fine") == pytest.approx(4.1446531673)
