"""The printable book: two pages of it, built, printed, read and looked at."""

import shutil
import subprocess
import sys
from pathlib import Path

import browser
import make_pdf
import numpy as np
import pypdfium2
import pytest
from pypdf import PdfReader

from gravity.book import contents, execution

ROOT = Path(__file__).resolve().parents[2]


CHAPTER = "notebooks/derivation/learning_rate"
TOC = [(0, "book/cite"), (1, CHAPTER)]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The two pages as HTML, in a book of their own."""
    browser.chromium()
    folder = tmp_path_factory.mktemp("pdf")
    source = folder / "source"
    ignored = shutil.ignore_patterns("results")
    shutil.copytree(ROOT / "book", source / "book", ignore=ignored)
    shutil.copy(ROOT / "_config.yml", source)
    toc = "format: jb-book\nroot: book/cite\nchapters:\n"
    (source / "_toc.yml").write_text(f"{toc}- file: {CHAPTER}\n")
    name = f"{CHAPTER}.ipynb"
    execution.execute(ROOT / name, source / name, progress=False)
    command = "import sys; from jupyter_book.cli.main import main; sys.exit(main())"
    result = subprocess.run(
        [
            *(sys.executable, "-c", command, "build"),
            *("--path-output", str(folder), str(source)),
        ],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return folder / "_build/html"


@pytest.fixture(scope="module")
def pdf(small):
    path = small.parent / "book.pdf"
    make_pdf.make(small, path, TOC)
    return path


@pytest.fixture(scope="module")
def texts(pdf):
    """Each page's words, without the breaks between its lines."""
    return [" ".join(page.extract_text().split()) for page in PdfReader(pdf).pages]


def first_page(texts, heading):
    """The index of the page that begins with a heading."""
    return next(i for i, text in enumerate(texts) if text.startswith(heading))


def test_no_code_is_cut_and_solutions_are_unfolded(texts):
    squeezed = "".join("".join(texts).split())
    for cell in execution_cells(ROOT / f"{CHAPTER}.ipynb"):
        for line in cell.splitlines():
            assert "".join(line.split()) in squeezed, line
    assert "Hidecode" not in squeezed


def execution_cells(path):
    """The code that the book shows."""
    import nbformat

    return [
        cell.source
        for cell in nbformat.read(path, as_version=4).cells
        if cell.cell_type == "code"
        and not {"remove-cell", "remove-input"} & set(cell.metadata.get("tags", []))
    ]


def test_every_figure_is_there_in_colour(pdf, texts, small):
    html = (small / f"{CHAPTER}.html").read_text()
    figures = html.count("<figure")
    assert figures >= 2
    orange = np.array([0xD5, 0x5E, 0x00])
    document = pypdfium2.PdfDocument(pdf)
    drawn = 0
    for number, text in enumerate(texts):
        image = document[number].render(scale=1).to_numpy()[..., 2::-1].astype(int)
        near = np.abs(image - orange).max(axis=-1) < 40
        # Gravity's curves are of this colour, and nothing else on the page is.
        drawn += near.sum() > 100
        assert (near.sum() > 100) <= ("Fig." in text), number
    assert drawn >= 2


def test_contents_and_bookmarks_lead_to_the_chapters(pdf, texts):
    reader = PdfReader(pdf)
    chapter = first_page(texts, "The learning rate")
    cite = first_page(texts, "How to cite")
    contents = first_page(texts, "Contents")
    assert f"How to cite {cite + 1} The learning rate {chapter + 1}" in texts[contents]
    outer, (inner,) = reader.outline
    assert reader.get_destination_page_number(outer) == cite
    assert reader.get_destination_page_number(inner) == chapter
    for number, text in enumerate(texts[1:], start=2):
        assert text.endswith(str(number))


def test_links_stay_inside(pdf, small):
    """The folder in which the book was built appears nowhere."""
    assert str(small).encode() not in pdf.read_bytes()
    for page in PdfReader(pdf).pages:
        for annotation in page.get("/Annots", []):
            action = annotation.get_object().get("/A", {})
            assert not str(action.get("/URI", "")).startswith("file:")


def test_what_does_not_fit_on_paper_is_an_error(small):
    page = small / f"{CHAPTER}.html"
    wide = '<article><p style="width: 3000px">wide</p><img src="nowhere.png">'
    broken = page.with_name("broken.html")
    text = page.read_text().replace("<figure", f"{wide}<figure", 1)
    broken.write_text(text)
    name = broken.relative_to(small).with_suffix("").as_posix()
    with pytest.raises(RuntimeError, match=r"nowhere.png is missing, <p .* too wide"):
        make_pdf.make(small, small.parent / "broken.pdf", [(0, name)])


def test_missing_page_is_an_error(small):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        make_pdf.make(small, small.parent / "x.pdf", [(0, "book/nowhere")])


def test_widest_picture_can_be_printed(built, tmp_path):
    make_pdf.make(built / "html", tmp_path / "map.pdf", [(0, "book/map")])
    assert len(PdfReader(tmp_path / "map.pdf").pages) >= 4


@pytest.mark.slow
def test_whole_book_can_be_printed(built, tmp_path):
    toc = contents.pages(ROOT / "_toc.yml")
    assert len(toc) > 50
    make_pdf.make(built / "html", tmp_path / "book.pdf", toc)
    reader = PdfReader(tmp_path / "book.pdf")
    titles = sum(isinstance(entry, dict) for entry in flat(reader.outline))
    assert titles == len(toc)


def flat(outline):
    """The bookmarks without their nesting."""
    for entry in outline:
        yield from flat(entry) if isinstance(entry, list) else [entry]
