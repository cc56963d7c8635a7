"""The walk-throughs of CONTRIBUTING.md, carried out as they stand there on a copy."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(title):
    """The language and text of each block of code under a heading."""
    page = (ROOT / "CONTRIBUTING.md").read_text()
    (section,) = re.findall(
        rf"^## {title}$(.*?)(?=^## |\Z)", page, re.DOTALL | re.MULTILINE
    )
    return BLOCK.findall(section)


def lines_of_code(title):
    """How many lines of Python a walk-through has its reader write."""
    count = 0
    for language, text in blocks(title):
        lines = [line for line in text.splitlines() if line.strip()]
        if language == "diff":
            count += sum(
                re.match(r"\+(?!\+\+ )\s*\S", line) is not None for line in lines
            )
        elif language == "python":
            count += len(lines)
    return count


@pytest.fixture
def copied(tmp_path):
    """A copy of what a contributor changes."""
    copy = tmp_path / "book"
    copy.mkdir()
    for name in ("gravity", "book", "notebooks", "tests"):
        ignored = shutil.ignore_patterns("results", "__pycache__")
        shutil.copytree(ROOT / name, copy / name, ignore=ignored)
    for name in ("_config.yml", "_toc.yml", "pyproject.toml"):
        shutil.copy(ROOT / name, copy)
    return copy


def follow(title, copy):
    """Do what a walk-through says; return what its commands print."""
    tools = str(Path(sys.executable).parent)
    environment = os.environ | {
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(copy),
        "GRAVITY_RUNS": str(copy / "runs"),
        "GRAVITY_PUBLISHED": str(copy / "nowhere"),
        # The copy may lie in a checkout, whose files git would take it to be.
        "GIT_CEILING_DIRECTORIES": str(copy.parent),
    }
    commands = {
        "diff": ["git", "apply", "-"],
        "python": [sys.executable, "-"],
        "bash": ["bash", "-e"],
    }
    printed = ""
    for language, text in blocks(title):
        done = subprocess.run(
            commands[language],
            input=text,
            cwd=copy,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        printed += done.stdout
    return printed


@pytest.mark.parametrize("what", ["an optimizer", "a dataset", "a chapter"])
def test_walk_through_is_short(what):
    assert 0 < lines_of_code(f"Add {what}") < 20


def test_optimizer_is_added(copied):
    printed = follow("Add an optimizer", copied)
    assert re.search(r"^digits-vgg16-nadam-\w+ +smoke", printed, re.MULTILINE)
    (record,) = (copied / "runs").glob("*/run.json")
    assert json.loads(record.read_text())["experiment"]["optimizer"] == "nadam"
    names = "[TITLES['nadam'], style.STYLES['nadam']['color']]"
    code = "from gravity.book import style;"
    code += "from gravity.experiments.experiment import TITLES;"
    code += f"print({names})"
    drawn = subprocess.run(
        [sys.executable, "-c", code], cwd=copied, capture_output=True, text=True
    )
    assert drawn.stdout == "['Nadam', '#56B4E9']\n", drawn.stderr


def test_dataset_is_added(copied):
    printed = follow("Add a dataset", copied)
    assert re.search(r"^parity +Odd or even digits", printed, re.MULTILINE)
    (record,) = (copied / "runs").glob("parity-vgg16-gravity-*/run.json")
    assert json.loads(record.read_text())["experiment"]["dataset"] == "parity"


def test_chapter_is_added(copied):
    printed = follow("Add a chapter", copied)
    assert "made: notebooks/derivation/first_step.ipynb" in printed
    assert "1 passed" in printed
    executed = nbformat.read(copied / "out.ipynb", as_version=4)
    (said,) = (
        output["data"]["text/markdown"]
        for cell in executed.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if "text/markdown" in output.get("data", {})
    )
    # Half of the learning rate, downhill.
    assert said.startswith("It is -0.25,")
    code = (
        "import sys; sys.path.insert(0, 'book/_ext'); import chapter_map, pathlib;"
        "print(chapter_map.read(pathlib.Path())['notebooks/derivation/first_step'])"
    )
    drawn = subprocess.run(
        [sys.executable, "-c", code], cwd=copied, capture_output=True, text=True
    )
    assert "notebooks/derivation/max_step_gradient" in drawn.stdout, drawn.stderr
