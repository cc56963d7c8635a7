"""`gravity.book.execution` and `gravity.book.parameters`, on small real notebooks."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import papermill
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from gravity.book import execution, parameters
from gravity.book.execution import ChapterError

ROOT = Path(__file__).resolve().parents[2]
PARAMETERS = """\
EPOCHS: int = 100  # passes over the training images
RATE: float = 0.1  # the learning rate
NAME: str = "digits"  # of a dataset
SEEDS: list[int] = [0]  # one run each
TRAIN: bool = True  # or show what is stored
ARGUMENTS: dict = {}  # of the optimizers
"""
CHECK = """\
from gravity.book import cards, parameters

parameters.check(globals())
"""
SHOW = "print('values', EPOCHS, RATE, NAME, SEEDS, TRAIN, ARGUMENTS)"
END = "cards.colophon()"


@pytest.fixture
def chapter(tmp_path):
    def make(*cells):
        first = new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})
        notebook = new_notebook(cells=[first, *map(new_code_cell, cells)])
        notebook.metadata["kernelspec"] = {
            "name": "python3",
            "display_name": "Python 3",
            "language": "python",
        }
        path = tmp_path / "chapter.ipynb"
        nbformat.write(notebook, path)
        return path

    return make


def printed(path):
    notebook = nbformat.read(path, as_version=4)
    return "".join(
        output.get("text", "")
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
    )


def test_values_arrive_with_their_types(chapter, tmp_path):
    given = {
        "EPOCHS": "3",
        "RATE": "1e-3",
        "NAME": "7",
        "SEEDS": "[1, 2]",
        "TRAIN": "false",
        "ARGUMENTS": "{'adam': {'epsilon': 1e-7}}",
    }
    output = tmp_path / "out" / "chapter.ipynb"
    execution.execute(chapter(CHECK, SHOW, END), output, given, progress=False)
    expected = "values 3 0.001 7 [1, 2] False {'adam': {'epsilon': 1e-07}}"
    assert expected in printed(output)
    assert [path.name for path in output.parent.iterdir()] == ["chapter.ipynb"]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("EPOCH", "3", r"EPOCH .*Accepted are: EPOCHS \(int\), RATE \(float\)"),
        ("EPOCHS", "3.5", "EPOCHS must be of type int. Received: 3.5"),
        ("EPOCHS", "three", "EPOCHS must be of type int. Received: three"),
        ("RATE", "fast", "RATE must be of type float. Received: fast"),
        ("TRAIN", "1", "TRAIN must be of type bool. Received: 1"),
        ("SEEDS", "1", r"SEEDS must be of type list\[int\]. Received: 1"),
    ],
)
def test_bad_value_stops_before_anything_runs(chapter, tmp_path, name, value, message):
    output = tmp_path / "out.ipynb"
    with pytest.raises(ValueError, match=message):
        execution.execute(chapter(CHECK, END), output, {name: value}, progress=False)
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"EPOCH": 3}, "Unknown parameter EPOCH. Accepted are: EPOCHS"),
        ({"EPOCHS": "3"}, "EPOCHS must be of type int. Received: EPOCHS='3'"),
        ({"EPOCHS": True}, "EPOCHS must be of type int. Received: EPOCHS=True"),
        ({"SEEDS": ["a"]}, r"SEEDS must be of type list\[int\]"),
    ],
)
def test_plain_papermill_stops_at_the_same_parameters(
    chapter, tmp_path, values, message
):
    notebook = chapter(CHECK, "raise SystemError('went on')", END)
    with pytest.raises(papermill.PapermillExecutionError, match=message):
        papermill.execute_notebook(
            notebook, tmp_path / "out.ipynb", values, progress_bar=False
        )


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("1 / 0", "division by zero"),
        ("import sys; sys.exit()", "ended before its last cell|SystemExit"),
        ("import os; os._exit(1)", "died|ended before its last cell"),
    ],
)
def test_chapter_that_does_not_reach_its_end_has_failed(
    chapter, tmp_path, cell, message
):
    output = tmp_path / "out.ipynb"
    with pytest.raises(ChapterError, match=message):
        execution.execute(chapter(CHECK, SHOW, cell, END), output, progress=False)
    assert not output.exists()
    assert "values 100" in printed(tmp_path / "out.failed.ipynb")


@pytest.mark.parametrize("cells", [(SHOW,), (CHECK, "a = 1"), ()])
def test_chapter_without_colophon_has_failed(chapter, tmp_path, cells):
    with pytest.raises(ChapterError, match=r"ran to its end, but .*colophon\(\)`"):
        execution.execute(chapter(*cells), tmp_path / "out.ipynb", progress=False)
    assert [path.name for path in tmp_path.glob("out*")] == ["out.failed.ipynb"]


def test_parameters_are_read_with_their_meaning(chapter):
    found = execution.parameters(chapter())
    assert found["SEEDS"]["inferred_type_name"] == "list[int]"
    assert found["SEEDS"]["default"] == "[0]"
    assert found["SEEDS"]["help"] == "one run each"


def test_integer_passes_for_a_float():
    namespace = {"__annotations__": {"RATE": float}, "RATE": 1}
    parameters.check(namespace)


@pytest.mark.parametrize("kind", ["folder", "device", "new folder", "below a file"])
def test_output_that_is_no_regular_file_is_refused_first(chapter, tmp_path, kind):
    paths = {
        "folder": tmp_path,
        "device": tmp_path / "device",
        "new folder": f"{tmp_path}/new/",
        "below a file": tmp_path / "file/out.ipynb",
    }
    # What could be broken here is a pipe with a name, and not /dev/null.
    os.mkfifo(paths["device"])
    (tmp_path / "file").touch()
    notebook = chapter(f"open({str(tmp_path / 'ran')!r}, 'w')", CHECK, END)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ValueError, match=r"`output` must be .*Received: output="):
        execution.execute(notebook, paths[kind], progress=False)
    assert sorted(tmp_path.iterdir()) == before
    assert paths["device"].is_fifo()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="no folder refuses all files")
def test_what_a_chapter_had_computed_is_said_to_be_where_it_is(chapter, tmp_path):
    notebook = chapter("1 / 0")
    failed = tmp_path / "out.failed.ipynb"
    with pytest.raises(ChapterError, match=f"had computed is in {failed}"):
        execution.execute(notebook, tmp_path / "out.ipynb", progress=False)
    with pytest.raises(ChapterError, match="failed: ") as refused:
        execution.execute(notebook, "/proc/out.ipynb", progress=False)
    assert "had computed" not in str(refused.value)


@pytest.mark.parametrize(
    ("given", "shown"), [({"SIZE": "None"}, "None"), ({"SIZE": "5"}, "5"), ({}, "3")]
)
def test_parameter_may_be_none_if_it_says_so(
    chapter, tmp_path, caplog, given, shown, monkeypatch
):
    monkeypatch.setattr(
        sys.modules[__name__], "PARAMETERS", "SIZE: int | None = 3  # images\n"
    )
    output = tmp_path / "out.ipynb"
    notebook = chapter(CHECK, "print('size', SIZE)", END)
    execution.execute(notebook, output, given, progress=False)
    assert f"size {shown}\n" in printed(output)
    # Papermill doesn't see such parameters.
    assert "unknown" not in caplog.text
    with pytest.raises(ValueError, match=r"int \| None. Received: many\. Accepted"):
        execution.execute(notebook, output, {"SIZE": "many"}, progress=False)


def test_interrupted_execution_prints_no_traceback(chapter, tmp_path):
    busy = "import time; open('begun', 'w')\nfor _ in range(600): time.sleep(1)"
    notebook = chapter(CHECK, busy, END)
    with (tmp_path / "printed.txt").open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "gravity", "execute", notebook, "-o", "out.ipynb"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        while not (tmp_path / "begun").exists():
            assert process.poll() is None
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait() == 130
    assert "Traceback" not in (tmp_path / "printed.txt").read_text()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": 1}', '{"cells": 3}', "\x00ü"])
def test_file_that_is_no_notebook_is_named(tmp_path, text):
    path = tmp_path / "chapter.ipynb"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"{path} isn't a notebook: "):
        execution.execute(path, tmp_path / "out.ipynb", progress=False)


def test_braces_in_a_path_are_part_of_it(chapter, tmp_path):
    folder = tmp_path / "{EPOCHS} {0}"
    folder.mkdir()
    notebook = chapter(CHECK, END).rename(folder / "in.ipynb")
    output = folder / "{out}.ipynb"
    execution.execute(notebook, output, {"EPOCHS": 3}, progress=False)
    assert sorted(folder.iterdir()) == [folder / "in.ipynb", output]
