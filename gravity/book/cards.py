"""The boxes around a chapter: what was run, how to run it, how it was made."""

import html
import platform
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from gravity.book import costs, gate, prose, tables
from gravity.experiments import datasets, environment, models
from gravity.experiments.experiment import Experiment
from gravity.experiments.optimizers import TITLES
from gravity.experiments.runs import Run, in_order

if TYPE_CHECKING:
    from IPython.display import HTML


SCALES = {
    "paper": "The paper's scale",
    "begun": "The paper's scale, stopped before its 100 epochs",
    "reduced": "Reduced scale, not the paper's",
    "smoke": "Smoke scale: shows that the chapter runs, and nothing else",
    "generated": "Generated data: shows that the chapter runs, and nothing else",
}

_started = time.perf_counter()


def run_card(runs: Sequence[Run]) -> "HTML":
    """Return a card that says exactly what was run, and at which scale."""
    if not runs:
        return prose.markup(
            '<div class="gravity-card"><p>No run is stored yet.</p></div>'
        )
    first = runs[0].experiment
    dataset = datasets.DATASETS[first.dataset]
    images = first.train_size or dataset.train_size
    rows = {
        "Data": f"{first.dataset_title}: {images:,} of {dataset.train_size:,} training "
        f"{dataset.unit}, {dataset.test_size:,} test {dataset.unit}, "
        f"{dataset.classes} classes",
        "Network": f"{models.TITLES[first.architecture]}, width "
        f"{_each(run.experiment.width for run in runs)}",
        "Budget": f"{first.epochs} epoch{'s' * (first.epochs > 1)} "
        f"in batches of {first.batch_size}",
        "Seeds": _each(run.experiment.seed for run in runs),
        "Training took": f"{prose.training_time(runs)} in all, "
        f"for {len(runs)} run{'s' * (len(runs) > 1)}",
    }
    starts = dict.fromkeys(_start(run.experiment) for run in runs)
    if len(starts) > 1 or "Glorot" not in starts:
        rows["Initial weights"] = ", ".join(starts)
    for optimizer, values in tables.argument_values(runs).items():
        rows[TITLES[optimizer]] = ", ".join(
            f"{name} = {' or '.join(map(prose.argument, each))}"
            for name, each in values.items()
        )
    badge = (
        f'<p><strong class="gravity-badge gravity-{first.scale}">'
        f"{SCALES[first.scale]}</strong></p>"
    )
    return prose.markup(f'<div class="gravity-card">{badge}{_definitions(rows)}</div>')


def _each(numbers: Iterable[float]) -> str:
    return ", ".join(f"{number:g}" for number in sorted(set(numbers)))


def _start(experiment: Experiment) -> str:
    """The initial weights as a reader would name them."""
    noise = experiment.weight_noise
    return experiment.initial_weights.title() + (
        f" with noise of {noise:g}" if noise else ""
    )


def ways_to_run(dataset: str, architecture: str, stored: Iterable[Run]) -> "HTML":
    """Return how to make a chapter's runs at the paper's scale, and what it takes.

    Args:
        dataset: a key of `gravity.experiments.datasets.DATASETS`.
        architecture: one of `gravity.experiments.models.ARCHITECTURES`.
        stored: runs, the one with most operations tells how fast a machine is.
    """
    chapter = f"notebooks/benchmark/{dataset}_{architecture}.ipynb"
    rows = {
        "On this machine": f"`python -m gravity execute {chapter} "
        f"-o {dataset}_{architecture}.ipynb`",
        "On a cluster": "`snakemake --profile book/cluster/slurm "
        f"--config profile=paper -- _build/paper/source/{chapter}`",
        "In Colab": "open this page with the rocket at its top, choose a TPU or GPU "
        "runtime, mount a Google Drive to keep the runs and run all cells; then "
        "`python -m gravity runs export FILE` there and "
        "`python -m gravity runs import FILE` here",
    }
    images = (
        run for run in stored if not models.takes_text(run.experiment.architecture)
    )
    largest = max(
        images, key=lambda run: costs.operations(run.experiment), default=None
    )
    if largest is not None:
        paper = Experiment(
            dataset=dataset, architecture=architecture, optimizer="gravity"
        )
        ratio = costs.operations(paper) / costs.operations(largest.experiment)
        time_taken = prose.duration(largest.provenance["seconds"] * ratio)
        rows["What it takes"] = (
            f"About {time_taken} for each optimizer on {_machine(largest)}, at "
            f"the operations a second of the run {largest.experiment.run_id}. An "
            "estimate, not a measurement."
        )
    listed = re.sub("`(.+?)`", r"<code>\1</code>", _definitions(rows))
    return prose.markup(f'<div class="gravity-card">{listed}</div>')


def _machine(run: Run) -> str:
    made = run.provenance
    return f"{made['cores']} cores of {environment.processor_of(made['device'])}"


def folded(summary: str, text: str) -> "HTML":
    """Return a sentence that unfolds to a longer text, kept as it is."""
    return prose.markup(
        f'<details class="gravity-card"><summary>{html.escape(summary)}</summary>'
        f"<pre>{html.escape(text)}</pre></details>"
    )


def colophon(runs: Iterable[Run] = ()) -> None:
    """Display how this page came about, and mark the chapter as complete.

    Args:
        runs: the training runs that the page shows. Defaults to none.
    """
    from IPython.display import display

    shown = in_order(runs)
    rows = {
        "Executed": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, "
        f"in {time.perf_counter() - _started:.0f} s",
        "Code": _code(environment.code_version()),
        "With": ", ".join(_libraries()),
        "On": f"{environment.cores()} cores of {environment.processor()}",
    }
    # What was made alike is said once, or a page with many runs ends in a long list.
    alike: dict[str, list[Run]] = {}
    for run in shown:
        made = run.provenance
        how = (
            f"{SCALES[run.experiment.scale]}; with {_code(made)}, {_versions(made)}, "
            f"on {made['device']}"
        )
        alike.setdefault(how, []).append(run)
    number, groups = 0, ""
    for how, group in alike.items():
        first, number = number + 1, number + len(group)
        name = f"Runs {first} to {number}" if group[1:] else f"Run {number}"
        groups += f"<dt>{name}</dt><dd>{html.escape(how)}{_list_of(group)}</dd>"
    card = prose.markup(
        f'<details class="gravity-card">'
        f"<summary>How this page was made</summary>"
        f"<dl>{_items(rows)}{groups}</dl></details>"
    )
    display(card, metadata=gate.record(shown))


FEW_RUNS = 12
"""How many runs are listed at once; a longer list has to be unfolded."""


def _list_of(group: Sequence[Run]) -> str:
    """Each run's name, when it was trained and how long, below what is true of all."""
    times = [datetime.fromisoformat(run.provenance["started"]) for run in group]
    each = "".join(
        f"<li><code>{run.experiment.run_id}</code> {_minute(time)}, "
        f"{run.provenance['seconds']:,.0f} s</li>"
        for run, time in zip(group, times, strict=True)
    )
    if len(group) <= FEW_RUNS:
        return f'<div class="gravity-runs"><ul>{each}</ul></div>'
    taken = prose.training_time(group)
    return (
        f'<details class="gravity-runs"><summary>{len(group)} runs, begun between '
        f"{_minute(min(times))} and {_minute(max(times))}, {taken} in all</summary>"
        # The list is scrolled, with the keyboard as well.
        f'<ul tabindex="0">{each}</ul></details>'
    )


def _minute(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _libraries() -> Iterator[str]:
    """Python, and those libraries that computed something here, with versions."""
    yield f"Python {platform.python_version()}"
    for name in _LIBRARIES:
        version = getattr(sys.modules.get(name), "__version__", None)
        if version:
            yield f"{name} {version}"


_LIBRARIES = ("numpy", "sympy", "keras", "tensorflow", "jax", "optax", "torch")


def _code(code: Mapping[str, Any]) -> str:
    if not code["commit"]:
        return f"gravity {code['gravity']}"
    changed = " with uncommitted changes" if code["dirty"] else ""
    return f"gravity {code['gravity']}, commit {code['commit'][:10]}{changed}"


def _versions(provenance: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {version}" for name, version in provenance["versions"].items()
    )


def _definitions(rows: Mapping[str, str]) -> str:
    return f"<dl>{_items(rows)}</dl>"


def _items(rows: Mapping[str, str]) -> str:
    return "".join(
        f"<dt>{html.escape(name)}</dt><dd>{prose.unbroken(html.escape(text))}</dd>"
        for name, text in rows.items()
    )
