"""The book at smoke scale, built once for all tests, in one process or several."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def make(folder, *targets):
    """Call Snakemake as `make book` does, with everything built in another folder."""
    return subprocess.run(
        [
            *(sys.executable, "-m", "snakemake", "--cores", "2", "--nolock"),
            *("--rerun-incomplete", "--rerun-triggers", "mtime"),
            *("--config", "profile=smoke", f"build={folder}"),
            *targets,
        ],
        cwd=ROOT,
        env=os.environ | {"GRAVITY_RUNS": f"{folder}/runs:{ROOT}/book/results"},
        capture_output=True,
        text=True,
    )


def tracked_state():
    return subprocess.run(
        ["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True
    ).stdout


def build(folder):
    """Build the book in a folder, and return what went wrong."""
    before = tracked_state()
    result = make(folder)
    if result.returncode != 0:
        logs = sorted((folder / "smoke/logs").rglob("*.log"))
        texts = [f"\n{log}\n{log.read_text()}" for log in logs]
        return "".join([result.stderr, *texts])
    if tracked_state() != before:
        return "building the book changed the checkout"
    return ""


def built_once(folder):
    """Return the folder of the built book; whoever comes first builds it."""
    folder.mkdir(exist_ok=True)
    outcome = folder / "outcome.txt"
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not outcome.exists():
            outcome.write_text(build(folder))
    assert outcome.read_text() == ""
    return folder / "smoke"
