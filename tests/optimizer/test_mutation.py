"""Mutation testing of `gravity.kinematics`: a broken formula makes a test fail."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SURVIVORS = ROOT / "tests/optimizer/mutation_survivors.md"


def mutmut(folder, *arguments):
    # Only the copy's package may be found, which is the one that mutmut changes.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    result = subprocess.run(
        [sys.executable, "-m", "mutmut", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return result.stdout


@pytest.mark.slow
def test_at_least_95_percent_of_mutants_are_killed_and_survivors_explained(tmp_path):
    shutil.copytree(ROOT / "gravity", tmp_path / "gravity")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "tests").mkdir()
    for name in ("conftest.py", "test_kinematics.py"):
        shutil.copy(ROOT / "tests" / name, tmp_path / "tests")
    mutmut(tmp_path, "run")
    mutmut(tmp_path, "export-cicd-stats")
    counts = json.loads((tmp_path / "mutants/mutmut-cicd-stats.json").read_text())
    print(f"{counts['killed']} of {counts['total']} mutants killed")
    explained = SURVIVORS.read_text(encoding="utf-8").splitlines()
    unexplained = []
    for line in mutmut(tmp_path, "results").splitlines():
        name = line.strip().partition(":")[0]
        if name:
            change = mutmut(tmp_path, "show", name)
            added = [row[1:] for row in change.splitlines() if row.startswith("+ ")]
            unexplained += [row for row in added if row not in explained]
    assert unexplained == []
    assert counts["total"] >= 200
    assert counts["killed"] >= 0.95 * counts["total"]
