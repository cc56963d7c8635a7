"""A pair's chapter: the authors' curves always, ours as far as they are stored."""

import os
import re
from pathlib import Path

import nbformat
import pytest

from gravity.book import execution
from gravity.evidence import published
from gravity.experiments.experiment import grid
from gravity.experiments.paper import PAPER_OPTIMIZERS
from gravity.experiments.runs import METRICS, RunStore

ROOT = Path(__file__).resolve().parents[2]
CHAPTER = "notebooks/benchmark/mnist_vgg19.ipynb"
PROVENANCE = {
    "started": "2026-01-01T00:00:00+00:00",
    "seconds": 1.0,
    **{"gravity": "0", "commit": None, "dirty": None, "versions": {}, "device": "cpu"},
}


@pytest.fixture
def shown(tmp_path, monkeypatch):
    """A function that executes the chapter without training; returns what it shows."""
    # The stored runs of other settings tell how long it would take.
    roots = os.pathsep.join(map(str, [tmp_path / "runs", ROOT / "book/results"]))
    monkeypatch.setenv("GRAVITY_RUNS", roots)

    def execute(**values):
        output = tmp_path / "out.ipynb"
        values = {"TRAIN": "false", **values}
        execution.execute(ROOT / CHAPTER, output, values, progress=False)
        notebook = nbformat.read(output, as_version=4)
        outputs = [
            data
            for cell in notebook.cells
            if cell.cell_type == "code"
            for each in cell.outputs
            if (data := each.get("data"))
        ]
        text = "\n".join(
            data.get("text/html", data.get("text/markdown", "")) for data in outputs
        )
        figures = [d["image/svg+xml"] for d in outputs if "image/svg+xml" in d]
        return notebook, text, figures

    return execute


def test_without_a_run_of_ours_it_shows_the_authors_and_how_to_make_ours(shown):
    # Nobody has trained with this seed.
    _, text, (curves,) = shown(SEEDS=[12345])
    assert "none here" not in curves
    for words in ("(a)", "(d)", "Gravity", "Adam", "RMSprop"):
        assert f"<!-- {words} -->" in curves
    assert "Runs of this book" not in curves
    assert "ours, " not in text
    last = published.load("mnist", "vgg19", "gravity").history["val_accuracy"][-1]
    assert f"{100 * last:.1f} % with Gravity" in text
    for command in (
        f"python -m gravity execute {CHAPTER} -o mnist_vgg19.ipynb",
        f"snakemake --profile book/cluster/slurm --config profile=paper -- "
        f"_build/paper/source/{CHAPTER}",
        "<code>python -m gravity runs import FILE</code> here",
    ):
        assert command in text
    assert re.search(r"About \d+ (h|days) for each optimizer on \d+ cores of ", text)


def test_with_runs_of_ours_both_stand_side_by_side(shown, tmp_path):
    store = RunStore(tmp_path / "runs")
    scale = {"seeds": (7, 8, 9), "width": 0.125, "epochs": 2}
    for each in grid("mnist", "vgg19", **scale):
        # Gravity is best in every seed, and on the last epoch.
        value = 0.8 - 0.1 * PAPER_OPTIMIZERS.index(each.optimizer)
        history = {m: [value] * 2 for m in METRICS} | {"val_loss": [1 - value] * 2}
        store.save(each, history, PROVENANCE)
    _, text, (curves,) = shown(SEEDS=[7, 8, 9], WIDTH=0.125, EPOCHS=2)
    assert "<!-- Runs of this book, width 0.125 -->" in curves
    assert (
        "at the end of ours, after 2 epochs at 0.125 of the paper's width, 80.0 % with "
        "Gravity, 70.0 % with Adam and 60.0 % with RMSprop, on average over 3 seeds."
    ) in text
    assert "ours, 3 seeds" in text
    # "Gravity has the lowest test loss": last (best) of each, and the verdict.
    assert (
        '<td class="gravity-words">last test loss (best)</td><td>0.2 (0.2)</td>'
        '<td>0.3 (0.3)</td><td>0.4 (0.4)</td><td class="gravity-words">'
        "holds at reduced scale</td>"
    ) in text


def test_one_cell_shows_the_parameters_that_were_used(shown):
    notebook, _, _ = shown(SEEDS=[12345], ARGUMENTS={"gravity": {"alpha": 0.02}})
    (cell,) = (
        cell
        for cell in notebook.cells
        if {"parameters", "injected-parameters"} & {*cell.metadata.get("tags", [])}
    )
    for line in (
        "SEEDS: list[int] = [12345]  # one run each",
        "ARGUMENTS: dict = {'gravity': {'alpha': 0.02}}  # what differs",
        "TRAIN: bool = False  # False shows",
        "EPOCHS: int = 100  # passes",
    ):
        assert line in cell.source
