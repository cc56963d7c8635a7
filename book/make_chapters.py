"""Makes the pair chapters from their template, and every chapter's set-up cell.

`--check` writes nothing and fails where a file isn't what it would be made.
"""

import argparse
import copy
import sys
from pathlib import Path

import nbformat
import yaml

from gravity.claims import FIGURES
from gravity.datasets import DATASETS
from gravity.experiment import TITLES

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
TEMPLATE = NOTEBOOKS / "benchmark" / "template.ipynb"

SETUP = """\
# A checkout of the book has all that is needed; Colab lacks this one package.
import importlib.util
import os

source = "git+{url}@{branch}"
if importlib.util.find_spec("gravity") is None:
    source = os.environ.get("GRAVITY_INSTALL", source)
    %pip install --quiet "gravity-optimizer @ {{source}}"
"""


def setup_cell() -> str:
    """Return the set-up cell, with the repository's address from `_config.yml`."""
    repository = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]
    return SETUP.format(**repository).rstrip()


def pair_chapter(template: nbformat.NotebookNode, pair: str, note: str) -> str:
    """Return the chapter of one dataset/architecture pair, as a notebook's text."""
    chapter = copy.deepcopy(template)
    dataset, _, architecture = pair.rpartition("_")
    figure_number = FIGURES.get((dataset, architecture))
    if figure_number is None:
        chapter.cells = [
            cell
            for cell in chapter.cells
            if "paper" not in cell.metadata.get("tags", [])
        ]
    words = {
        "DATASET × ARCHITECTURE": f"{DATASETS[dataset].title} × {TITLES[architecture]}",
        "fig-curves-template": f"fig-curves-{pair.replace('_', '-')}",
        'DATASET: str = "digits"': f'DATASET: str = "{dataset}"',
        'ARCHITECTURE: str = "vgg16"': f'ARCHITECTURE: str = "{architecture}"',
        "PAPER_FIGURE": str(figure_number),
        "NOTE": note.strip(),
    }
    for cell in chapter.cells:
        cell.source = replace(cell.source, words)
        figure = cell.metadata.get("mystnb", {}).get("figure", {})
        for key, text in figure.items():
            figure[key] = replace(text, words)
    return text_of(chapter)


def replace(text: str, words: dict[str, str]) -> str:
    for old, new in words.items():
        text = text.replace(old, new)
    return text


def text_of(notebook: nbformat.NotebookNode) -> str:
    return nbformat.writes(notebook, version=4) + "\n"


def wanted() -> dict[Path, str]:
    """Return what every notebook should hold, by path."""
    texts = {}
    for path in sorted(NOTEBOOKS.rglob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            if "setup" in cell.metadata.get("tags", []):
                cell.source = setup_cell()
        texts[path] = text_of(notebook)
    template = nbformat.reads(texts[TEMPLATE], as_version=4)
    pairs = yaml.safe_load((ROOT / "book" / "pairs.yaml").read_text())
    for pair, note in pairs.items():
        texts[TEMPLATE.with_name(f"{pair}.ipynb")] = pair_chapter(template, pair, note)
    return texts


def main() -> int:
    """Write the chapters, or compare them; 1 if a comparison found a difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    stale = [
        (path, text)
        for path, text in wanted().items()
        if not path.exists() or path.read_text() != text
    ]
    for path, text in stale:
        if not check:
            path.write_text(text)
        print(f"{'stale' if check else 'made'}: {path.relative_to(ROOT)}")
    if check and stale:
        print("Run `make chapters`.", file=sys.stderr)
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
