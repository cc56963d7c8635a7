"""`gravity.chapters` and `gravity.execution`, on small real notebooks."""

import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import papermill
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from gravity import chapters, execution
from gravity.execution import ChapterError
from gravity.experiment import Experiment
from gravity.runs import METRICS, RunStore

ROOT = Path(__file__).resolve().parents[1]
PARAMETERS = """\
EPOCHS: int = 100  # passes over the training images
RATE: float = 0.1  # the learning rate
NAME: str = "digits"  # of a dataset
SEEDS: list[int] = [0]  # one run each
TRAIN: bool = True  # or show what is stored
ARGUMENTS: dict = {}  # of the optimizers
"""
CHECK = """\
from gravity import chapters

chapters.check_parameters(globals())
"""
SHOW = "print('values', EPOCHS, RATE, NAME, SEEDS, TRAIN, ARGUMENTS)"
END = "chapters.colophon()"


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


def test_integer_passes_for_a_float():
    namespace = {"__annotations__": {"RATE": float}, "RATE": 1}
    chapters.check_parameters(namespace)


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


def test_code_of_a_function_is_its_statements():
    def described(x: int) -> int:
        """Do something.

        Args:
            x: a number.
        """
        # This says why.
        y = x + 1
        return y

    def bare(x: int) -> int:
        return x

    listing = chapters.code_of(described).data
    assert listing == "```python\ny = x + 1\nreturn y\n```"
    assert chapters.code_of(bare).data == "```python\nreturn x\n```"


def test_braces_in_a_path_are_part_of_it(chapter, tmp_path):
    folder = tmp_path / "{EPOCHS} {0}"
    folder.mkdir()
    notebook = chapter(CHECK, END).rename(folder / "in.ipynb")
    output = folder / "{out}.ipynb"
    execution.execute(notebook, output, {"EPOCHS": 3}, progress=False)
    assert sorted(folder.iterdir()) == [folder / "in.ipynb", output]


def test_parameters_are_read_with_their_meaning(chapter):
    found = execution.parameters(chapter())
    assert found["SEEDS"]["inferred_type_name"] == "list[int]"
    assert found["SEEDS"]["default"] == "[0]"
    assert found["SEEDS"]["help"] == "one run each"


@pytest.fixture
def conditions(tmp_path):
    """Runs of two conditions with five seeds, and of one with four."""
    store = RunStore(tmp_path)
    found = {}
    for alpha, name, accuracies in (
        (0.01, "one", [0.90, 0.91, 0.92, 0.93, 0.94]),
        (0.02, "other", [0.80, 0.82, 0.81, 0.85, 0.83]),
        (0.03, "few", [0.5, 0.5, 0.5, 0.5]),
    ):
        found[name] = [
            store.save(
                Experiment(
                    dataset="digits",
                    architecture="vgg16",
                    optimizer="gravity",
                    arguments={"alpha": alpha},
                    epochs=1,
                    seed=seed,
                    weight_noise=0.05 if name == "few" else 0.0,
                ),
                {metric: [accuracy] for metric in METRICS},
                {"seconds": 1.0},
            )
            for seed, accuracy in enumerate(accuracies)
        ]
    return found


@pytest.mark.parametrize("end", [math.nan, math.inf])
def test_table_calls_a_diverged_run_so(tmp_path, end):
    experiment = Experiment(
        dataset="digits", architecture="vgg16", optimizer="rmsprop", epochs=2
    )
    history = {metric: [2.0, end] for metric in ("loss", "val_loss")}
    history |= {metric: [0.1, 0.1] for metric in ("accuracy", "val_accuracy")}
    run = RunStore(tmp_path).save(experiment, history, {"seconds": 1.0})
    for shown in (chapters.results_table([run]), chapters.winners([run])):
        assert ">diverged<" in shown.data
        assert "nan" not in shown.data
        assert "inf" not in shown.data


def test_differences_are_paired_and_in_points(conditions):
    shown = chapters.differences(
        conditions, [("one", "other"), ("one", "few"), ("other", "one")]
    ).data
    cells = re.findall("<t[dh][^>]*>([^<]*)</t", shown)[4:]
    # By hand: 10, 9, 11, 8 and 11 points. Of the 32 ways to change their signs two have
    # a mean as far out, and there are two comparisons.
    assert cells[:2] == ["(one) minus (other)", "+9.8"]
    assert cells[3] == cells[11] == "0.125"
    low, high = map(float, cells[2].split(" to "))
    assert 8 <= low < 9.8 < high <= 11
    assert cells[4:8] == ["(one) minus (few)", "–", "too few seeds", "–"]
    assert cells[9] == "−9.8"


def test_card_shows_every_value_that_the_runs_have(conditions):
    runs = [run for each in conditions.values() for run in each]
    card = chapters.run_card(runs).data.replace("&nbsp;", " ")
    assert "alpha = 0.01 or 0.02 or 0.03" in card
    assert "Glorot, Glorot with noise of 0.05" in card
    assert "learning_rate = 0.1," in card
    # Each was given one second.
    assert f"{len(runs)} s in all, for {len(runs)} runs" in card


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (99.0, "99 s"),
        (100.0, "2 min"),
        (3570.0, "1 h 0 min"),
        (9000.0, "2 h 30 min"),
    ],
)
def test_card_adds_up_how_long_the_runs_trained(tmp_path, seconds, text):
    store = RunStore(tmp_path)
    runs = [
        store.save(
            Experiment(
                dataset="digits",
                architecture="vgg16",
                optimizer="gravity",
                epochs=1,
                width=width,
            ),
            {metric: [0.5] for metric in METRICS},
            {"seconds": seconds / 2},
        )
        for width in (0.125, 0.25)
    ]
    card = chapters.run_card(runs).data
    assert f"{text} in all, for 2 runs" in card
    assert "width 0.125, 0.25" in card


def test_short_labels_of_rows_take_no_room():
    short = chapters.table(["m", "Step"], [["1", "0.5"], ["new W₁", "2"]]).data
    long = chapters.table(["Pair", "Step"], [["1", "0.5"], ["MNIST × VGG16", "2"]]).data
    assert 'class="gravity-table gravity-short"' in short
    assert 'class="gravity-table"' in long


def test_numbers_in_tables_have_a_minus_and_words_keep_their_hyphen():
    row = ["max-step", "-0.1", "-9.9 to -8.1", "5.00e-05", "2026-11-25"]
    made = chapters.table(["", "a", "b", "c", "d"], [row]).data
    cells = re.findall(r"<t[dh][^>]*>([^<]*)</t", made)[5:]
    assert cells == ["max-step", "−0.1", "−9.9 to −8.1", "5.00e-05", "2026-11-25"]


def test_sentences_name_their_column_and_keep_a_value_with_its_name():
    made = chapters.table(["It", "Says"], [["a", "lr = 0.1, 5 %"]], prose=True).data
    assert (
        '<td class="gravity-words" data-column="Says">lr&nbsp;=&nbsp;0.1, 5&nbsp;%</td>'
        in made
    )


def test_table_of_the_store_has_one_row_for_all_optimizers(tmp_path):
    store = RunStore(tmp_path)
    made = [
        store.save(
            Experiment(
                dataset="digits", architecture="vgg16", optimizer=name, epochs=epochs
            ),
            {metric: [0.5] * epochs for metric in METRICS},
            {"seconds": 50.0},
        )
        for name, epochs in (("adam", 10), ("gravity", 10), ("adam", 8))
    ]
    rows = re.findall("<tr>(.*?)</tr>", chapters.store_table(made).data)
    cells = [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row) for row in rows[1:]]
    alike = ["1", "128", "1,437"]
    assert [[row[0], row[1], row[3], *row[6:]] for row in cells] == [
        ["Digits × VGG16", "reduced", "8", "Adam\xa01", "50 s"],
        ["Digits × VGG16", "reduced", "10", "Gravity\xa01, Adam\xa01", "2 min"],
    ]
    assert all([row[2], *row[4:6]] == alike for row in cells)


def test_columns_of_words_are_told_from_those_of_numbers():
    made = chapters.table(
        ["Optimizer", "Loss", "Won by", "Gain"],
        [["Adam", "2.3", "rate = 1", "-0.1"], ["SGD", "too few", "momentum", "–"]],
    ).data
    assert re.findall(r"<th scope=\"col\"(.*?)>(.*?)<", made) == [
        (' class="gravity-words"', "Optimizer"),
        ("", "Loss"),
        (' class="gravity-words"', "Won by"),
        ("", "Gain"),
    ]
    assert re.findall(r"<td(.*?)>(.*?)<", made) == [
        ("", "2.3"),
        (' class="gravity-words"', "rate = 1"),
        ("", "−0.1"),
        ("", "too few"),
        (' class="gravity-words"', "momentum"),
        ("", "–"),
    ]
    assert '<th scope="col">' in chapters.table(["Nothing"], []).data


@pytest.mark.parametrize(
    ("value", "digits", "written"),
    [
        (0.00042, 1, r"4.2 \cdot 10^{-4}"),
        (-1.6e-7, 0, r"-2 \cdot 10^{-7}"),
        (7.0, 0, "7"),
        (96.0, 0, "10^{2}"),
        (-1e-14, 0, "-10^{-14}"),
        (1e-14, 1, r"1.0 \cdot 10^{-14}"),
    ],
)
def test_scientific_is_a_product_with_a_power_of_ten(value, digits, written):
    assert chapters.scientific(value, digits) == written


def test_plateau_ends_below_nine_tenths_of_guessing():
    # 0.9 times ln 10 and ln 100.
    assert chapters.plateau("digits") == pytest.approx(2.0723265837)
    assert chapters.plateau("cifar100_fine") == pytest.approx(4.1446531673)
