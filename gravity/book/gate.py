"""What may be published: pages whose results are more than a proof that they run."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gravity.experiments.runs import Run

REFUSED = ("smoke", "generated")
"""Scales of runs that show that a chapter runs, and nothing else."""


class PublicationError(RuntimeError):
    """A page must not be published."""


@dataclass(frozen=True)
class ShownRun:
    """A run that a page shows.

    Attributes:
        run_id: its name.
        scale: the run's, a key of `gravity.book.cards.SCALES`.
        seconds: how long its training took.
    """

    run_id: str
    scale: str
    seconds: float


def record(runs: Iterable[Run]) -> dict[str, Any]:
    """Return the metadata of a chapter's last output, which says what it shows.

    A chapter that has it ran to its end. `shown_runs` reads it, for whoever executes
    chapters, for the page that lists all executions, and for `check`.
    """
    shown = [
        ShownRun(
            run.experiment.run_id,
            run.experiment.scale,
            round(run.provenance.get("seconds", 0), 1),
        )
        for run in runs
    ]
    return {"gravity": {"runs": list(map(asdict, shown))}}


def shown_runs(notebook: Mapping[str, Any]) -> list[ShownRun] | None:
    """Return the runs that an executed chapter says it shows.

    Args:
        notebook: as `nbformat` reads it.

    Returns:
        The runs, or `None` if the chapter wasn't executed to its end.
    """
    outputs = [
        output for cell in notebook["cells"] for output in cell.get("outputs", ())
    ]
    said = outputs[-1].get("metadata", {}).get("gravity") if outputs else None
    return None if said is None else [ShownRun(**run) for run in said["runs"]]


def check(folder: str | os.PathLike[str]) -> int:
    """Make sure that a built book may be published.

    Args:
        folder: the built book, the folder with `index.html`. Beside its pages it has
            their executed notebooks, in `_sources`.

    Returns:
        The number of executed pages in it.

    Raises:
        ValueError: the folder holds no built book.
        PublicationError: a page shows runs of smoke scale or on generated data, or it
            wasn't executed to its end. All such pages are named.
    """
    import nbformat

    folder = Path(folder)
    pages = sorted(folder.glob("notebooks/**/*.html"))
    if not (folder / "index.html").is_file() or not pages:
        raise ValueError(
            "Argument `folder` must be a built book, with index.html and notebooks. "
            f"Received: folder={str(folder)!r}"
        )
    problems = []
    for page in pages:
        name = page.relative_to(folder)
        source = folder / "_sources" / name.with_suffix(".ipynb")
        executed = source.exists() and nbformat.read(source, as_version=4)
        runs = shown_runs(executed) if executed else None
        refused = [run for run in runs or () if run.scale in REFUSED]
        if runs is None:
            problems.append(f"{name} wasn't executed to its end")
        elif refused:
            scales = " and ".join(sorted({run.scale for run in refused}))
            problems.append(
                f"{name} shows {len(refused)} runs of {scales} scale, "
                f"as {refused[0].run_id}"
            )
    if problems:
        raise PublicationError("not to be published:\n" + "\n".join(problems))
    return len(pages)
