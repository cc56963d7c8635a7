"""What may be published: pages whose results are more than a proof that they run."""

import html
import json
import os
from collections.abc import Iterable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from gravity.experiments.runs import Run

REFUSED = ("smoke", "generated")
"""Scales of runs that show that a chapter runs, and nothing else."""


class PublicationError(RuntimeError):
    """A page must not be published."""


def attribute(runs: Iterable[Run]) -> str:
    """Return the attribute in which a page's card says which runs it shows.

    It is read again by `shown_runs`: by the page that lists all executions, and by the
    gate that keeps results of a smoke run out of the published book.
    """
    record = [
        {
            "run_id": run.experiment.run_id,
            "scale": run.experiment.scale,
            "seconds": round(run.provenance.get("seconds", 0), 1),
        }
        for run in runs
    ]
    return f'data-runs="{html.escape(json.dumps(record))}"'


def shown_runs(text: str) -> list[dict[str, Any]] | None:
    """Return the runs that a page or a cell's output says it shows.

    Args:
        text: HTML with a card as `gravity.book.cards.colophon` writes it.

    Returns:
        For each run a dictionary with `run_id`, `scale` and `seconds`, how long its
        training took. `None` if there is no such card.
    """
    cards = _Cards()
    cards.feed(text)
    return cards.runs


class _Cards(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.runs: list[dict[str, Any]] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        record = dict(attrs).get("data-runs")
        if record is not None:
            self.runs = [*(self.runs or []), *json.loads(record)]


def check(folder: str | os.PathLike[str]) -> int:
    """Make sure that a built book may be published.

    Args:
        folder: the built book, the folder with `index.html`.

    Returns:
        The number of executed pages in it.

    Raises:
        ValueError: the folder holds no built book.
        PublicationError: a page shows runs of smoke scale or on generated data, or it
            has no card, so that it wasn't executed to its end. All such pages are
            named.
    """
    folder = Path(folder)
    pages = sorted(folder.glob("notebooks/**/*.html"))
    if not (folder / "index.html").is_file() or not pages:
        raise ValueError(
            "Argument `folder` must be a built book, with index.html and notebooks. "
            f"Received: folder={str(folder)!r}"
        )
    problems = []
    for page in pages:
        runs = shown_runs(page.read_text(encoding="utf-8"))
        refused = [run for run in runs or () if run["scale"] in REFUSED]
        name = page.relative_to(folder)
        if runs is None:
            problems.append(f"{name} wasn't executed to its end")
        elif refused:
            scales = " and ".join(sorted({run["scale"] for run in refused}))
            problems.append(
                f"{name} shows {len(refused)} runs of {scales} scale, "
                f"as {refused[0]['run_id']}"
            )
    if problems:
        raise PublicationError("not to be published:\n" + "\n".join(problems))
    return len(pages)
