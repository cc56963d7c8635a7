"""The how-to pages: every example runs and gives what the page says."""

import doctest
import subprocess
import sys
from pathlib import Path

import pytest

PAGES = sorted((Path(__file__).resolve().parents[1] / "book" / "howto").glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_examples_run(page):
    assert doctest.DocTestParser().get_examples(page.read_text())
    # A process of its own: a reader starts with none of the frameworks loaded.
    run = subprocess.run(
        [sys.executable, "-m", "doctest", str(page)], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr
