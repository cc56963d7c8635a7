"""Makes the pair chapters from their template, and every chapter's set-up cell.

`--check` writes nothing and fails where a file isn't what it would be made.
`--repository` and `--branch` move the book to another address: they write it into
`_config.yml`, the one place where it is kept, and into every file that has a copy.
"""

import argparse
import copy
import re
import sys
from pathlib import Path

import nbformat
import yaml

from gravity.evidence.claims import FIGURES
from gravity.experiments import models
from gravity.experiments.datasets import DATASETS

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
    %pip install --quiet "gravity-optimizer[chapters] @ {{source}}"
# Keras wants TensorFlow, which a TPU's machine lacks: this makes it take JAX there.
importlib.import_module("gravity.experiments.environment").prepare()
"""


# Colab opens notebooks from GitHub only.
ADDRESS = re.compile(r"https://github\.com/[\w.-]+/[\w.-]+(?<!\.git)")
BRANCH = re.compile(r"\w[\w./-]*")
# Files that tools and readers take as they are, so that they hold a copy.
COPIES = (
    *("*.md", "*.cff", ".zenodo.json", "pyproject.toml"),
    *("book/**/*.md", ".github/**/*.yml"),
)


def repository() -> dict[str, str]:
    """Return the repository's `url` and `branch` from `_config.yml`."""
    return yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]


def move(url: str, branch: str) -> None:
    """Write another address into `_config.yml` and into every file with a copy.

    Args:
        url: the repository's, as `https://github.com/OWNER/NAME`.
        branch: the branch that Colab opens and the set-up cells install from.

    Raises:
        ValueError: either has another form.
    """
    if not ADDRESS.fullmatch(url):
        raise ValueError(
            "Argument `repository` must be https://github.com/OWNER/NAME, since Colab "
            f"opens notebooks from there. Received: repository={url}"
        )
    if not BRANCH.fullmatch(branch):
        raise ValueError(
            f"Argument `branch` must be a branch's name. Received: branch={branch}"
        )
    old = repository()
    config = ROOT / "_config.yml"
    text = config.read_text().replace(f"  url: {old['url']}\n", f"  url: {url}\n")
    text = text.replace(f"\n  branch: {old['branch']}\n", f"\n  branch: {branch}\n")
    config.write_text(text)
    # The longer form first: it holds the branch.
    slug, new = (each.removeprefix("https://github.com/") for each in (old["url"], url))
    changes = {
        f"{slug}/{kind}/{old['branch']}": f"{new}/{kind}/{branch}"
        for kind in ("blob", "tree", "raw")
    }
    changes[slug] = new
    for path in sorted({path for name in COPIES for path in ROOT.glob(name)}):
        text = path.read_text()
        if slug in text:
            path.write_text(replace(text, changes))
            print(f"moved: {path.relative_to(ROOT)}")


def setup_cell() -> str:
    """Return the set-up cell, with the repository's address from `_config.yml`."""
    return SETUP.format(**repository()).rstrip()


def pair_chapter(template: nbformat.NotebookNode, pair: str, note: str) -> str:
    """Return the chapter of one dataset/architecture pair, as a notebook's text."""
    chapter = copy.deepcopy(template)
    dataset, _, architecture = pair.rpartition("_")
    figure_number = FIGURES.get((dataset, architecture))
    # Cells of the template that only the paper's pairs have, and only the others.
    left_out = "paper" if figure_number is None else "own"
    chapter.cells = [
        cell for cell in chapter.cells if left_out not in cell.metadata.get("tags", [])
    ]
    title = f"{DATASETS[dataset].title} × {models.TITLES[architecture]}"
    words = {
        "DATASET × ARCHITECTURE": title,
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
    parser.add_argument(
        "--repository", metavar="URL", help="the book's new address on GitHub"
    )
    parser.add_argument("--branch", metavar="NAME", help="its new branch")
    options = parser.parse_args()
    check = options.check
    if options.repository or options.branch:
        if check:
            parser.error("--check writes nothing; give it alone")
        now = repository()
        try:
            move(options.repository or now["url"], options.branch or now["branch"])
        except ValueError as error:
            parser.error(str(error))
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
