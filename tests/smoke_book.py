"""The book at smoke scale, built once for all tests, in one process or several."""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ODD = "my book's ü"
"""A folder's name that a shell takes apart unless it is quoted."""


def environment():
    """The variables of a user who calls make, also where make has called the tests."""
    dropped = ("GRAVITY_RUNS", "MAKEFLAGS", "MFLAGS", "MAKELEVEL")
    return {name: value for name, value in os.environ.items() if name not in dropped}


def checkout(folder):
    """Copy the checkout as it is, with the environment that runs the tests."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in listed.split("\0"):
        # One that was deleted is listed until that is committed.
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(sys.prefix)


def make(folder, *arguments):
    """Call make in a checkout whose environment is taken as it is."""
    return subprocess.run(
        ["make", "--old-file", ".venv/book", "PROFILE=smoke", "CORES=2", *arguments],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
    )


def state(folder):
    """What a checkout holds that git would see."""
    made = {"_build", ".snakemake", ".venv", "__pycache__"}
    return {
        path: path.read_bytes()
        for path in folder.rglob("*")
        if made.isdisjoint(path.relative_to(folder).parts) and path.is_file()
    }


def build(folder):
    """Build the book in a new checkout, and return what went wrong."""
    checkout(folder)
    before = state(folder)
    result = make(folder, "book")
    if result.returncode != 0:
        logs = sorted((folder / "_build/smoke/logs").rglob("*.log"))
        texts = [f"\n{log}\n{log.read_text()}" for log in logs]
        return "".join([result.stdout, result.stderr, *texts])
    if state(folder) != before:
        return "building the book changed the checkout"
    return ""


def built_once(folder):
    """Return the folder of the built book; whoever comes first builds it."""
    folder.mkdir(exist_ok=True)
    outcome = folder / "outcome.txt"
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not outcome.exists():
            outcome.write_text(build(folder / ODD))
    assert outcome.read_text() == ""
    return folder / ODD / "_build/smoke"
