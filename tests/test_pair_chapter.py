"""A pair's chapter that has no run of ours to show."""

import os
import re
from pathlib import Path

import nbformat
import pytest

from gravity import execution

ROOT = Path(__file__).resolve().parents[1]
CHAPTER = "notebooks/benchmark/mnist_vgg19.ipynb"
HISTORY = "epoch,loss,accuracy,val_loss,val_accuracy\n" + "".join(
    f"{epoch},{2 / epoch},{1 - 0.9 / epoch},{2.5 / epoch},{1 - 0.95 / epoch}\n"
    for epoch in range(1, 31)
)


@pytest.fixture
def authors(tmp_path):
    """A folder with histories as the authors' are converted to."""
    folder = tmp_path / "published"
    folder.mkdir()
    rows = [
        "dataset,architecture,optimizer,learning_rate,output_units,declared_dataset"
    ]
    for optimizer, rate in (("gravity", 0.1), ("adam", 2.5e-4), ("rmsprop", 2.5e-5)):
        (folder / f"mnist_vgg19_{optimizer}.csv").write_text(HISTORY)
        rows.append(f"mnist,vgg19,{optimizer},{rate},10,MNIST")
    (folder / "summary.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture
def shown(tmp_path, monkeypatch):
    """A function that executes the chapter with no run of it; returns its page."""

    def execute(published):
        # The stored runs of other settings tell how long it would take.
        roots = os.pathsep.join(map(str, [tmp_path / "runs", ROOT / "book/results"]))
        monkeypatch.setenv("GRAVITY_RUNS", roots)
        monkeypatch.setenv("GRAVITY_PUBLISHED", str(published))
        output = tmp_path / "out.ipynb"
        execution.execute(ROOT / CHAPTER, output, {"TRAIN": "false"}, progress=False)
        assert not (tmp_path / "runs").exists()
        outputs = [
            data
            for cell in nbformat.read(output, as_version=4).cells
            if cell.cell_type == "code"
            for each in cell.outputs
            if (data := each.get("data"))
        ]
        text = "\n".join(data.get("text/html", "") for data in outputs)
        return text, [d["image/svg+xml"] for d in outputs if "image/svg+xml" in d]

    return execute


def assert_tells_how_to_make_them(text):
    assert "No run is stored yet." in text
    for command in (
        f"python -m gravity execute {CHAPTER} -o mnist_vgg19.ipynb",
        f"snakemake --profile book/cluster/slurm --config profile=paper -- "
        f"_build/paper/source/{CHAPTER}",
        "<code>python -m gravity runs import FILE</code> here",
    ):
        assert command in text
    assert re.search(r"About [\d,]+ hours for each optimizer on \d+ cores of ", text)


def test_it_shows_the_authors_curves_and_how_to_make_ours(shown, authors):
    text, (ours, theirs) = shown(authors)
    assert_tells_how_to_make_them(text)
    assert "<!-- Runs of this book: none here -->" in ours
    for words in ("(a)", "(d)", "Gravity", "Adam", "RMSprop"):
        assert f"<!-- {words} -->" in theirs
    assert "The authors&#x27; histories could not be read" not in text
    assert "not supported: " in text
    assert "can&#x27;t tell: no run" in text


def test_it_goes_on_without_the_authors_too(shown, tmp_path):
    text, (ours, theirs) = shown(tmp_path / "nowhere")
    assert_tells_how_to_make_them(text)
    assert "<!-- Runs of this book: none here -->" in ours
    assert "none here -->" in theirs
    assert "The authors&#x27; histories could not be read" in text
    assert "nowhere" in text
