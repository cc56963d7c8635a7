"""The how-to pages of the frameworks: every example runs and gives what it says.

The programs of the other pages are run by test_cluster.py and test_distribution.py.
"""

import doctest
import subprocess
import sys
from pathlib import Path

import pytest

HOWTO = Path(__file__).resolve().parents[2] / "book/howto"


@pytest.mark.parametrize("name", ["keras", "pytorch", "optax"])
def test_examples_run(name):
    page = HOWTO / f"{name}.md"
    assert doctest.DocTestParser().get_examples(page.read_text())
    # A process of its own: a reader starts with none of the frameworks loaded.
    run = subprocess.run(
        [sys.executable, "-m", "doctest", str(page)], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr
