"""`make book`: what it says while it works, what it refuses, how it ends.

Most tests run the real Makefile, `book/make_book.py` and Snakemake on rules that take
seconds; the folder's name is one that a shell takes apart unless it is quoted.
"""

import contextlib
import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import sys
import termios
import time
from pathlib import Path

import make_book
import pytest
from smoke_book import ODD, checkout, environment

ROOT = Path(__file__).resolve().parents[2]
RULES = """
rule book:
    input:
        "made/plane",
        "made/valley",
        "runs/digits-vgg16-gravity-0123456789ab/run.json",

rule chapter:
    output:
        "made/{name}",
    log:
        "logs/{name}.log",
    message:
        "chapter {wildcards.name}"
    shell:
        "echo Executing {wildcards.name} > {log:q}; %(chapter)s; touch {output:q}"

rule run:
    output:
        "runs/{run}/run.json",
    message:
        "training {wildcards.run}"
    priority: 1
    resources:
        epochs=3,
    shell:
        "mkdir -p runs/.unfinished/{wildcards.run};"
        " for epoch in 1 2 3; do sleep %(epoch)s;"
        " touch runs/.unfinished/{wildcards.run}/00000$epoch-0123.npz; done;"
        " touch {output:q}"
"""


@pytest.fixture
def folder(tmp_path):
    """A checkout with three rules in place of the book's."""

    def make(chapter="true", epoch=0):
        place = tmp_path / ODD
        place.mkdir()
        for name in ("Makefile", "pyproject.toml", "requirements.txt"):
            shutil.copy(ROOT / name, place)
        for name in ("gravity", "book"):
            (place / name).symlink_to(ROOT / name)
        (place / ".venv").symlink_to(sys.prefix)
        (place / "Snakefile").write_text(RULES % {"chapter": chapter, "epoch": epoch})
        return place

    return make


def command(target="book", **variables):
    settings = {"CORES": 3, **variables}
    return [
        *("make", "--old-file", ".venv/book", target),
        *(f"{name}={value}" for name, value in settings.items()),
    ]


def make(place, target="book", **variables):
    return subprocess.run(
        command(target, **variables),
        cwd=place,
        env=environment(),
        capture_output=True,
        text=True,
        # Some steps sleep for longer, and must not be waited for.
        timeout=300,
    )


@contextlib.contextmanager
def started(place, **variables):
    """A build in a group of processes of its own, as a terminal would have it."""
    with (place / "out.txt").open("w") as out:
        process = subprocess.Popen(
            command(**variables),
            cwd=place,
            env=environment(),
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_for(path):
    while not path.exists():
        time.sleep(0.1)


def timeless(text):
    return re.sub(r"\d+ s\b", "1 s", text)


def test_each_step_is_a_line_that_names_and_counts_it(folder):
    place = folder()
    done = make(place)
    assert done.returncode == 0, done.stderr
    *steps, end = timeless(done.stdout).splitlines()
    assert sorted(step.partition("] ")[2] for step in steps) == [
        "book, 1 s",
        "chapter plane, 1 s",
        "chapter valley, 1 s",
        "training digits-vgg16-gravity-0123456789ab, 1 s",
    ]
    assert [step.partition(" ")[0] for step in steps] == [
        *("[1/4]", "[2/4]", "[3/4]", "[4/4]")
    ]
    page = (place / "_build/quick/html/index.html").as_uri()
    assert "my%20book%27s%20%C3%BC/_build" in page
    assert end == f"The book is made, in 1 s. Open {page}"
    assert done.stderr == ""


def test_snakemakes_own_lines_are_shown_when_asked_for(folder):
    done = make(folder(), V=1)
    assert done.returncode == 0
    assert "4 of 4 steps (100%) done" in done.stderr
    assert "Job stats:" in done.stderr


def test_failed_step_shows_the_end_of_its_log_and_where_the_rest_is(folder):
    place = folder(
        chapter="seq 100 >> {log:q}; printf 'half\\rwhole\\n' >> {log:q}; false"
    )
    done = make(place, CORES=1)
    assert done.returncode != 0
    lines = done.stdout.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("FAILED: "))
    name = re.fullmatch(r"FAILED: chapter (\w+), after \d+ s", lines[first])[1]
    assert lines[first + 1 :] == [
        "The last lines of its log:",
        *(f"    {number}" for number in range(87, 101)),
        "    whole",
        f"All of it: {place}/logs/{name}.log",
    ]
    assert "Not finished, after " in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("cores", ["0", "-1", "", "two"])
def test_number_of_cores_is_checked(folder, cores):
    done = make(folder(), CORES=cores)
    assert done.returncode != 0
    assert done.stderr.splitlines()[0] == (
        f"CORES must be an integer, at least 1. Received: CORES={cores}"
    )
    assert done.stdout == ""


def on_a_terminal(words, place):
    """Return what a command writes to a terminal, and its exit status."""
    ours, its = pty.openpty()
    termios.tcsetwinsize(its, (24, 100))
    process = subprocess.Popen(
        words, cwd=place, env=environment(), stdout=its, stderr=its
    )
    os.close(its)
    written = b""
    with contextlib.suppress(OSError):
        while part := os.read(ours, 4096):
            written += part
    os.close(ours)
    return written.decode(), process.wait()


def test_terminal_shows_a_bar_with_the_epoch_and_nothing_of_it_remains(folder):
    written, status = on_a_terminal(command(), folder(epoch=2))
    assert status == 0
    name = "training digits-vgg16-gravity-0123456789ab"
    for epoch in (1, 2, 3):
        assert re.search(rf"\r{name}, epoch {epoch} of 3 ", written)
    # The last that is written to each line is what stays there.
    *steps, end, _ = [line.rpartition("\r")[2] for line in written.split("\r\n")]
    assert len([step for step in steps if re.match(r"\[\d/4\] ", step)]) == 4
    assert end.startswith("The book is made")


def test_log_tells_a_trainings_epoch_now_and_then(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder())
    run = Path("runs/digits-vgg16-gravity-0123456789ab")
    kept = Path("runs/.unfinished", run.name)
    kept.mkdir(parents=True)
    handler = make_book.LogHandler(None, None)
    step = make_book.Step("training it", None, run / "run.json", 25, time.time() - 600)
    for epochs, expected in (
        (0, ""),
        (11, "training it, epoch 12 of 25\n"),
        (11, ""),
        (25, "training it, epoch 25 of 25\n"),
    ):
        if epochs:
            (kept / f"{epochs:06}-0123.npz").touch()
        handler._tell(step)
        assert capsys.readouterr().out == expected
        handler._tell(step)
        assert capsys.readouterr().out == ""
        step.told = (0, step.told[1])
    handler.close()


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGHUP])
def test_build_works_after_one_that_was_killed(folder, ending):
    place = folder(chapter="touch begun; test -e again || sleep 600")
    with started(place) as process:
        wait_for(place / "begun")
        os.killpg(process.pid, ending)
        process.wait()
    assert list((place / ".snakemake/locks").iterdir())
    (place / "again").touch()
    done = make(place)
    assert done.returncode == 0, done.stdout + done.stderr


def test_two_builds_of_the_same_files_are_kept_apart(folder):
    place = folder(chapter="touch begun; test -e again || sleep 600")
    with started(place) as process:
        wait_for(place / "begun")
        done = make(place)
        assert done.returncode != 0
        (builder,) = re.findall(r"^(\d+) on ", (place / make_book.BUILDS).read_text())
        assert done.stdout.splitlines() == [
            f"Another build is making these files: process {builder} on "
            f"{socket.gethostname()}."
        ]
        # It is the first one that goes on.
        assert os.getpgid(int(builder)) == process.pid
        assert process.poll() is None


def test_build_knows_of_a_direct_call_of_snakemake(tmp_path):
    place = tmp_path / ODD
    checkout(place)
    chapter = "derivation/moving_average"
    with subprocess.Popen(
        [
            *(place / ".venv/bin/python", "-m", "snakemake", "--cores", "1"),
            *("--", f"_build/quick/source/notebooks/{chapter}.ipynb"),
        ],
        cwd=place,
        env=environment(),
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        wait_for(place / f"_build/quick/logs/{chapter}.log")
        done = make(place)
        os.killpg(process.pid, signal.SIGKILL)
    assert done.stdout.splitlines() == [
        f"Another build is making these files: process {process.pid} on "
        f"{socket.gethostname()}."
    ]


def test_interrupted_build_says_only_that(folder):
    place = folder(chapter="touch begun; sleep 600")
    # With several cores, Snakemake may start a step after that, and waits for its end.
    with started(place, CORES=1) as process:
        wait_for(place / "begun")
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait() != 0
    text = re.sub(r"^\[.*\n", "", (place / "out.txt").read_text(), flags=re.MULTILINE)
    said, *makes = text.splitlines()
    assert re.fullmatch(r"Stopped after \d+ s\. What is finished is kept\.", said)
    assert all(line.startswith("make: ***") for line in makes)


def test_damaged_environment_is_said_to_be_one(folder):
    place = folder()
    (place / ".venv").unlink()
    (place / ".venv/bin").mkdir(parents=True)
    python = place / ".venv/bin/python"
    # Python without any installed package.
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    python.chmod(0o755)
    for target, module in (("book", "snakemake"), (".venv/book", "pip")):
        options = ["--old-file", ".venv/book"] * (target == "book")
        done = subprocess.run(
            ["make", *options, target],
            cwd=place,
            env=environment(),
            capture_output=True,
            text=True,
        )
        assert done.returncode != 0
        assert done.stderr.splitlines()[0] == (
            f"The environment .venv is damaged: it can't import {module}. "
            "Delete the folder .venv and call make again."
        )


@pytest.mark.parametrize("requirement", ["numpy", "no-such-package"])
def test_pip_reports_errors_and_no_warnings(folder, requirement):
    place = folder()
    (place / "requirements.txt").write_text(f"{requirement}\n")
    (place / "gravity").unlink()
    (place / "pyproject.toml").write_text(
        "[build-system]\nrequires = ['setuptools']\n"
        "build-backend = 'setuptools.build_meta'\n"
        "[project]\nname = 'nothing'\nversion = '1'\n[tool.setuptools]\npackages = []\n"
    )
    (place / ".venv").unlink()
    (place / ".venv/bin").mkdir(parents=True)
    python = place / ".venv/bin/python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    done = subprocess.run(
        ["make", ".venv/book"],
        cwd=place,
        env=environment()
        | {"PIP_DRY_RUN": "1", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "nowhere"},
        capture_output=True,
        text=True,
    )
    if requirement == "numpy":
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
    else:
        assert done.returncode != 0
        assert "No matching distribution found for no-such-package" in done.stderr
    assert "WARNING" not in done.stdout + done.stderr
