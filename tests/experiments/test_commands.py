"""The commands that the README and the pages of the book tell a reader to type."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gravity.__main__ import _parser
from gravity.book import execution

ROOT = Path(__file__).resolve().parents[2]
CHAPTER = "notebooks/derivation/learning_rate.ipynb"
# CONTRIBUTING.md has a test that carries it out.
PAGES = [ROOT / "README.md", *sorted((ROOT / "book").rglob("*.md"))]
BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def commands(page):
    """The commands of a page, as words."""
    for block in BLOCK.findall(page.read_text()):
        command = ""
        for line in block.replace("\\\n", " ").splitlines():
            command += f"{line}\n"
            try:
                words = shlex.split(command, comments=True)
            except ValueError:
                # A quotation goes on in the next line.
                continue
            if words:
                yield words
            command = ""
        assert not command, command


COMMANDS = [
    pytest.param(words, id=f"{page.stem}: {' '.join(words)}")
    for page in PAGES
    for words in commands(page)
]


def settings(words):
    """The names and values after each `-p`."""
    return [words[i + 1 : i + 3] for i, word in enumerate(words) if word == "-p"]


def check_parameters(chapter, given):
    known = execution.parameters(ROOT / chapter)
    for name, value in given:
        execution.parse(value, known[name]["inferred_type_name"])


@pytest.mark.parametrize("words", COMMANDS)
def test_command_is_one_that_there_is(words):
    match words:
        case ["make", target, *_]:
            assert f"\n{target}:" in (ROOT / "Makefile").read_text()
        case ["python", "-m", "gravity", *rest]:
            given = _parser().parse_args(rest)
            if rest[0] == "execute":
                check_parameters(given.chapter, given.p)
        case ["papermill", "--help-notebook", chapter]:
            assert (ROOT / chapter).is_file()
        case ["papermill", chapter, *rest]:
            check_parameters(chapter, settings(rest))
        case ["snakemake", *rest]:
            if "--profile" in rest:
                folder = ROOT / rest[rest.index("--profile") + 1]
                assert (folder / "config.yaml").is_file()
            (profile,) = (word[8:] for word in rest if word.startswith("profile="))
            assert (ROOT / f"book/profiles/{profile}.yaml").is_file()
        case [("pip" | ".venv/bin/pip"), "install", *_]:
            pyproject = (ROOT / "pyproject.toml").read_text()
            for extras in re.findall(r"\[([\w,]+)\]", " ".join(words)):
                for extra in extras.split(","):
                    assert f"\n{extra} = [" in pyproject
        case _:
            # The page on devices shows the program of that name.
            assert words[0] in ("cd", "export", "source") or words[-2:] == [
                "python",
                "workers.py",
            ]


@pytest.mark.parametrize("value", ["-1e-3", "-.5", "-1", "-2.5E+4", "-inf"])
def test_negative_number_is_a_value(value):
    execute = ["execute", CHAPTER, "-o", "out.ipynb", "-p", "RATE", value]
    assert _parser().parse_args(execute).p == [["RATE", value]]
    train = ["train", "--dataset", "digits", "--architecture", "vgg16"]
    train += ["--optimizer", "gravity", "--width", value]
    assert _parser().parse_args(train).width == float(value)


def test_readme_has_commands():
    assert len(list(commands(ROOT / "README.md"))) >= 10


def test_every_profile_is_explained():
    profiles = {path.stem for path in (ROOT / "book/profiles").glob("*.yaml")}
    page = (ROOT / "book/howto/profiles.md").read_text()
    first, _, costs = page.partition("<!-- costs")
    for table in (first, costs):
        assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == profiles


def test_environment_that_could_not_be_made_is_not_left_behind(tmp_path):
    """As Debian's Python does without the package python3-venv."""
    python = tmp_path / "python"
    python.write_text(
        f"#!/bin/sh\nmkdir -p .venv/bin && ln -s {sys.executable} .venv/bin/python\n"
        "echo ensurepip is missing; exit 1\n"
    )
    python.chmod(0o755)
    for name in ("Makefile", "pyproject.toml", "requirements.txt"):
        shutil.copy(ROOT / name, tmp_path)
    done = subprocess.run(
        ["make", ".venv/book", f"PYTHON={python}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "ensurepip is missing" in done.stdout
    assert not (tmp_path / ".venv").exists()
