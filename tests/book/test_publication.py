"""`gravity.book.gate`: the gate that results of a smoke run don't pass."""

import html
import re
import shutil

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from gravity.__main__ import main
from gravity.book import cards, gate
from gravity.experiments.experiment import grid
from gravity.experiments.runs import METRICS, RunStore


def run(tmp_path, **settings):
    """A stored run that took two and a half minutes."""
    (one,) = grid("digits", "vgg16", optimizers=["gravity"], **settings)
    store = RunStore(tmp_path / "runs")
    provenance = {
        "started": "2026-11-24T12:00:00+00:00",
        "seconds": 150.04,
        "gravity": "0.1.0",
        "commit": "0" * 40,
        "dirty": False,
        "versions": {"python": "3.11.7", "keras": "3.15.1"},
        "device": "cpu:0 (a processor)",
    }
    return store.save(
        one, {metric: [0.5] * one.epochs for metric in METRICS}, provenance
    )


PAGE = "notebooks/benchmark/digits_vgg16"


@pytest.fixture
def book(tmp_path, monkeypatch):
    """A function that makes a built book of one page that shows the given runs."""

    def make(runs):
        shown = []
        monkeypatch.setattr(
            "IPython.display.display",
            lambda card, metadata: shown.append((card.data, metadata)),
        )
        cards.colophon(runs)
        ((card, metadata),) = shown
        folder = tmp_path / "html"
        shutil.rmtree(folder, ignore_errors=True)
        for path in (folder / PAGE, folder / "_sources" / PAGE):
            path.parent.mkdir(parents=True)
        (folder / "index.html").write_text("<html></html>")
        (folder / f"{PAGE}.html").write_text(f"<html><body>{card}</body></html>")
        output = new_output("display_data", {"text/html": card}, metadata=metadata)
        executed = new_notebook(cells=[new_code_cell(outputs=[output])])
        nbformat.write(executed, folder / f"_sources/{PAGE}.ipynb")
        return folder

    return make


def executed(folder):
    return nbformat.read(folder / f"_sources/{PAGE}.ipynb", as_version=4)


def test_page_of_a_run_of_some_size_passes(book, tmp_path, capsys):
    folder = book([run(tmp_path, width=0.125, epochs=25)])
    assert gate.check(folder) == 1
    assert main(["publishable", str(folder)]) == 0
    assert "1 executed pages may be published" in capsys.readouterr().out


def test_page_of_a_smoke_run_does_not_pass(book, tmp_path, capsys):
    smoke = run(tmp_path, width=0.0625, epochs=1, train_size=64)
    assert smoke.experiment.scale == "smoke"
    folder = book([run(tmp_path, width=0.125, epochs=25), smoke])
    with pytest.raises(gate.PublicationError, match="1 runs of smoke scale"):
        gate.check(folder)
    assert main(["publishable", str(folder)]) == 1
    message = capsys.readouterr().err
    assert "notebooks/benchmark/digits_vgg16.html" in message
    assert smoke.experiment.run_id in message


def test_page_that_was_not_executed_to_its_end_does_not_pass(book):
    folder = book([])
    assert gate.check(folder) == 1
    notebook = executed(folder)
    notebook.cells[-1].outputs.clear()
    nbformat.write(notebook, folder / f"_sources/{PAGE}.ipynb")
    with pytest.raises(gate.PublicationError, match="executed to its end"):
        gate.check(folder)


def test_page_without_its_notebook_does_not_pass(book):
    folder = book([])
    (folder / f"_sources/{PAGE}.ipynb").unlink()
    with pytest.raises(gate.PublicationError, match="executed to its end"):
        gate.check(folder)


def test_card_says_when_what_and_where(book, tmp_path):
    one = run(tmp_path, width=0.125, epochs=25)
    folder = book([one])
    text = (folder / f"{PAGE}.html").read_text()
    assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", text)
    for words in (
        one.experiment.run_id,
        html.escape(cards.SCALES["reduced"]),
        "2026-11-24 12:00 UTC, 150 s",
        "commit 0000000000",
        "keras 3.15.1",
        "on cpu:0 (a processor)",
        "numpy ",
    ):
        assert words in text
    assert re.search(r"<dt>On</dt><dd>\d+ cores of .+?</dd>", text)
    assert gate.shown_runs(executed(folder)) == [
        gate.ShownRun(one.experiment.run_id, "reduced", 150.0)
    ]
    assert gate.shown_runs(new_notebook()) is None


def test_card_says_once_what_was_made_alike(book, tmp_path):
    alike = [run(tmp_path, width=0.125, epochs=25, seeds=[seed]) for seed in (0, 1)]
    smoke = run(tmp_path, width=0.125, epochs=1)
    folder = book([*alike, smoke])
    text = (folder / f"{PAGE}.html").read_text()
    assert re.findall(r"<dt>(Runs? .*?)</dt>", text) in (
        ["Runs 1 to 2", "Run 3"],
        ["Run 1", "Runs 2 to 3"],
    )
    for one in (*alike, smoke):
        name = f"<code>{one.experiment.run_id}</code>"
        assert f"<li>{name} 2026-11-24 12:00 UTC, 150 s</li>" in text
    assert len(gate.shown_runs(executed(folder))) == 3


def test_card_of_many_runs_is_one_line_that_unfolds(book, tmp_path):
    many = [run(tmp_path, width=0.125, epochs=25, seeds=[seed]) for seed in range(13)]
    text = (book(many) / "notebooks/benchmark/digits_vgg16.html").read_text()
    # 13 times 150.04 s.
    assert (
        '<details class="gravity-runs"><summary>13 runs, begun between '
        "2026-11-24 12:00 UTC and 2026-11-24 12:00 UTC, 33 min in all</summary>"
        '<ul tabindex="0">'
    ) in text
    assert text.count("<li>") == 13
    text = (book(many[:12]) / "notebooks/benchmark/digits_vgg16.html").read_text()
    assert '<div class="gravity-runs"><ul>' in text


def test_what_is_no_book_is_named(tmp_path):
    with pytest.raises(ValueError, match="must be a built book"):
        gate.check(tmp_path)
