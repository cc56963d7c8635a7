"""What a chapter has around its content: parameters, run cards, tables, colophon."""

import ast
import html
import inspect
import itertools
import math
import platform
import re
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from types import UnionType
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

from gravity.book import gate
from gravity.evidence import statistics
from gravity.evidence.claims import Claim
from gravity.evidence.judgement import by_seed
from gravity.evidence.rules import plateau_left
from gravity.evidence.verdicts import over_seeds
from gravity.experiments import datasets, environment, models
from gravity.experiments.experiment import Experiment, paper_experiment
from gravity.experiments.optimizers import OPTIMIZERS, TITLES, Argument
from gravity.experiments.paper import PAPER_LEARNING_RATES, PAPER_OPTIMIZERS
from gravity.experiments.runs import History, Run, by_optimizer, in_order

if TYPE_CHECKING:
    from IPython.display import HTML, Markdown

    from gravity.evidence.findings import Finding
    from gravity.evidence.first_epochs import Pair

COMPLETE = {"gravity": {"complete": True}}
"""Metadata of the output that a chapter writes last, by which it is known to have run
to its end."""

SCALES = {
    "paper": "The paper's scale",
    "begun": "The paper's scale, stopped before its 100 epochs",
    "reduced": "Reduced scale, not the paper's",
    "smoke": "Smoke scale: shows that the chapter runs, and nothing else",
    "generated": "Generated data: shows that the chapter runs, and nothing else",
}

_started = time.perf_counter()


def check_parameters(namespace: Mapping[str, Any]) -> None:
    """Stop a chapter whose parameters are not those that it declares.

    The parameters cell annotates each name (`EPOCHS: int = 100`); papermill's own cell
    then overwrites values, and merely warns of a name that nothing reads.

    Args:
        namespace: the notebook's `globals()`, before it has names of its own in
            capitals.

    Raises:
        NameError: a name in capitals that the parameters cell doesn't declare.
        TypeError: a value of another type than declared (an integer passes for a
            float). Either message lists the accepted names with their types.
    """
    declared = namespace.get("__annotations__", {})
    accepted = ", ".join(
        f"{name} ({_type_name(kind)})" for name, kind in declared.items()
    )
    for name in namespace:
        if name.isupper() and not name.startswith("_") and name not in declared:
            raise NameError(f"Unknown parameter {name}. Accepted are: {accepted}.")
    for name, kind in declared.items():
        if not fits(namespace[name], kind):
            raise TypeError(
                f"Parameter {name} must be of type {_type_name(kind)}. "
                f"Received: {name}={namespace[name]!r}. Accepted are: {accepted}."
            )


def _type_name(kind: Any) -> str:
    return str(kind) if get_origin(kind) else kind.__name__


def fits(value: object, kind: Any) -> bool:
    """Return whether a parameter's value is of its declared type.

    Args:
        value: the value.
        kind: the type, as in `list[int]` or `int | None`; an integer passes for a
            `float`.
    """
    container = get_origin(kind)
    if container in (UnionType, Union):
        return any(fits(value, each) for each in get_args(kind))
    if container is list:
        (inner,) = get_args(kind)
        return isinstance(value, list) and all(fits(item, inner) for item in value)
    if kind in (int, float) and isinstance(value, bool):
        return False
    return isinstance(value, int | float if kind is float else container or kind)


def say(text: str) -> "Markdown":
    """Return a paragraph with numbers that a cell computed.

    Args:
        text: Markdown with mathematics and links, usually an f-string. It reads the
            same in the book, in Jupyter and in Colab.
    """
    from IPython.display import Markdown

    return Markdown(text)


def code_of(function: Callable[..., Any]) -> "Markdown":
    """Return what a function does, as a listing: its statements without docstring."""
    source = textwrap.dedent(inspect.getsource(function))
    (definition,) = ast.parse(source).body
    assert isinstance(definition, ast.FunctionDef)
    first = definition.body[1 if ast.get_docstring(definition) else 0]
    lines = source.splitlines()[first.lineno - 1 :]
    return say("```python\n" + textwrap.dedent("\n".join(lines)) + "\n```")


def run_card(runs: Sequence[Run]) -> "HTML":
    """Return a card that says exactly what was run, and at which scale."""
    if not runs:
        return _html('<div class="gravity-card"><p>No run is stored yet.</p></div>')
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
        "Training took": f"{_duration(sum(_seconds(run) for run in runs))} in all, "
        f"for {len(runs)} run{'s' * (len(runs) > 1)}",
    }
    starts = dict.fromkeys(_start(run.experiment) for run in runs)
    if len(starts) > 1 or "Glorot" not in starts:
        rows["Initial weights"] = ", ".join(starts)
    for optimizer, values in _arguments(runs).items():
        rows[TITLES[optimizer]] = ", ".join(
            f"{name} = {' or '.join(map(_value, each))}"
            for name, each in values.items()
        )
    badge = (
        f'<p><strong class="gravity-badge gravity-{first.scale}">'
        f"{SCALES[first.scale]}</strong></p>"
    )
    return _html(f'<div class="gravity-card">{badge}{_definitions(rows)}</div>')


def _each(numbers: Iterable[float]) -> str:
    return ", ".join(f"{number:g}" for number in sorted(set(numbers)))


def _seconds(run: Run) -> float:
    return float(run.provenance.get("seconds", 0.0))


def _duration(seconds: float) -> str:
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return (
        f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
    )


def _start(experiment: Experiment) -> str:
    """The initial weights as a reader would name them."""
    noise = experiment.weight_noise
    return experiment.initial_weights.title() + (
        f" with noise of {noise:g}" if noise else ""
    )


def arguments(run: Run) -> str:
    """Return the arguments of a run's optimizer as a reader writes them."""
    return ", ".join(
        f"{name} = {_value(value)}" for name, value in run.experiment.arguments.items()
    )


def _value(value: Argument) -> str:
    return str(value) if isinstance(value, bool | str) else f"{value:g}"


def results_table(runs: Sequence[Run]) -> "HTML":
    """Return the final and best values of every run as a table.

    Arguments have a column where an optimizer's runs differ in them.
    "Left the plateau" is the first epoch whose training loss is below 90 % of ln C, the
    loss of guessing among C classes; a dash says that there is none. A loss that is no
    number any more is called diverged.
    """
    if not runs:
        return _html("<p>No run is stored yet.</p>")
    columns: dict[str, Callable[[Run], str]] = {
        "Optimizer": lambda run: TITLES[run.experiment.optimizer],
        "Seed": lambda run: str(run.experiment.seed),
        "Final training loss": lambda run: _loss(run.history["loss"][-1]),
        "Final test loss": lambda run: _loss(run.history["val_loss"][-1]),
        "Final training accuracy": lambda run: _percent(run.history["accuracy"][-1]),
        "Final test accuracy": lambda run: _percent(run.history["val_accuracy"][-1]),
        "Best test accuracy (epoch)": _best,
        "Left the plateau (epoch)": lambda run: str(plateau_left(run) or "–"),
        "Training time": lambda run: f"{run.provenance['seconds']:,.0f} s",
    }
    varied = _varied_arguments(runs)
    if any(varied.values()):
        columns["Arguments"] = lambda run: ", ".join(
            # Where the column is narrow, the line breaks before the sign.
            f"{name} =\u00a0{_value(run.experiment.arguments[name])}"
            for name in varied[run.experiment.optimizer]
        )
    order = list(columns)
    if "Arguments" in columns:
        order.insert(1, order.pop())
    return table(
        order, [[columns[name](run) for name in order] for run in in_order(runs)]
    )


def datasets_table() -> "HTML":
    """Return the paper's datasets with their sizes, as its Table 3."""
    papers = dict.fromkeys(dataset for dataset, _ in PAPER_LEARNING_RATES)
    rows = []
    for name in papers:
        spec = datasets.DATASETS[name]
        height, width, channels = spec.shape
        rows.append(
            [
                spec.title,
                f"{height} × {width} × {channels}",
                f"{spec.train_size:,}",
                f"{spec.test_size:,}",
                str(spec.classes),
                f"{spec.train_size // spec.classes:,}",
            ]
        )
    header = ["Dataset", "Shape", "Training images", "Test images", "Classes"]
    return table([*header, "Training images a class"], rows)


def settings_table() -> "HTML":
    """Return the learning rates that the paper uses, as its Table 5."""
    rows = [
        [
            f"{datasets.DATASETS[dataset].title} × {models.TITLES[architecture]}",
            f"{OPTIMIZERS['gravity'].defaults['learning_rate']:g}",
            *(f"{rates[name]:.2e}" for name in ("adam", "rmsprop")),
        ]
        for (dataset, architecture), rates in PAPER_LEARNING_RATES.items()
    ]
    return table(["Pair", "Gravity", "Adam", "RMSprop"], rows)


def common_settings_table() -> "HTML":
    """Return what all the paper's runs have in common, as its section 3.3."""
    pair = next(iter(PAPER_LEARNING_RATES))
    papers = {name: paper_experiment(*pair, name) for name in PAPER_OPTIMIZERS}
    rows = [
        ["Epochs", f"{papers['gravity'].epochs}"],
        ["Images in a step", f"{papers['gravity'].batch_size}"],
    ]
    for name, paper in papers.items():
        listed = [
            f"{argument} = {_value(value)}"
            for argument, value in paper.arguments.items()
            # Table 5 has the learning rates that differ between pairs.
            if argument != "learning_rate" or name not in PAPER_LEARNING_RATES[pair]
        ]
        rows.append([TITLES[name], ", ".join(listed)])
    return table(["Setting", "Everywhere"], rows, prose=True)


def store_table(runs: Iterable[Run]) -> "HTML":
    """Return what is stored, a row for runs of the same network, budget and data.

    A row has the number of runs of each optimizer, whatever their arguments, seeds and
    initial weights.
    """
    groups: dict[tuple[str, str, float, int, int, int], list[Run]] = {}
    for run in in_order(runs):
        each = run.experiment
        images = each.train_size or datasets.DATASETS[each.dataset].train_size
        trained = f"{each.dataset_title} × {models.TITLES[each.architecture]}"
        key = (trained, each.scale, each.width, each.epochs, each.batch_size, images)
        groups.setdefault(key, []).append(run)
    rows = []
    for (trained, scale, width, epochs, batch, images), group in sorted(groups.items()):
        numbers = Counter(TITLES[run.experiment.optimizer] for run in group)
        # A name stays whole and with its number, however narrow the column.
        listed = ", ".join(
            f"{name} {number}".replace(" ", "\N{NO-BREAK SPACE}")
            for name, number in numbers.items()
        )
        sizes = (f"{width:g}", f"{epochs}", f"{batch}", f"{images:,}")
        taken = _duration(sum(map(_seconds, group)))
        rows.append([trained, scale, *sizes, listed, taken])
    header = ["Runs of", "Scale", "Width", "Epochs", "Batch", "Training data"]
    return table([*header, "Runs", "Training time"], rows)


def _arguments(runs: Sequence[Run]) -> dict[str, dict[str, list[Argument]]]:
    """For each optimizer and argument the different values that its runs have."""
    values: dict[str, dict[str, list[Argument]]] = {}
    for run in in_order(runs):
        for name, value in run.experiment.arguments.items():
            seen = values.setdefault(run.experiment.optimizer, {}).setdefault(name, [])
            if value not in seen:
                seen.append(value)
    return values


def _varied_arguments(runs: Sequence[Run]) -> dict[str, list[str]]:
    """For each optimizer, the names of the arguments that its runs differ in."""
    return {
        optimizer: [name for name, each in seen.items() if len(each) > 1]
        for optimizer, seen in _arguments(runs).items()
    }


def differences(
    found: Mapping[str, Sequence[Run]],
    pairs: Sequence[tuple[str, str]],
    metric: str = "val_accuracy",
) -> "HTML":
    """Return a table of paired comparisons between conditions.

    Args:
        found: the runs of each condition.
        pairs: which to compare; the first minus the second.
        metric: `val_accuracy` (the default) or `accuracy`, shown in points.

    Returns:
        A row for each pair: the mean difference, its 95 % interval, and p, corrected
        for the number of pairs that can be compared; a dash where a condition has
        fewer than five seeds.
    """
    compared = {
        pair: statistics.difference(found[pair[0]], found[pair[1]], metric)
        for pair in pairs
        if min(len(found[name]) for name in pair) >= statistics.FEWEST_SEEDS
    }
    corrected = dict(
        zip(compared, statistics.holm([c.p for c in compared.values()]), strict=True)
    )
    rows = []
    for pair in pairs:
        name = " minus ".join(f"({each})" for each in pair)
        if pair not in compared:
            rows.append([name, "–", "too few seeds", "–"])
            continue
        each = compared[pair]
        rows.append(
            [
                name,
                statistics.signed(100 * each.mean),
                f"{statistics.signed(100 * each.low)} to "
                f"{statistics.signed(100 * each.high)}",
                f"{corrected[pair]:.3f}",
            ]
        )
    return table(["Compared", "Points", "95 % interval", "p, corrected"], rows)


def what_to_see(authors: Mapping[str, History], runs: Sequence[Run]) -> "Markdown":
    """Return one sentence with the last test accuracies, the authors' and ours.

    Args:
        authors: the authors' history for each optimizer.
        runs: ours, all of one width and number of epochs; may be empty.
    """
    theirs = {name: [each["val_accuracy"][-1]] for name, each in authors.items()}
    text = f"At the end of the authors' runs {_accuracies(theirs)} of the "
    text += "test images are classified correctly"
    if runs:
        one = runs[0].experiment
        seeds = len({run.experiment.seed for run in runs})
        ours = {
            name: [history["val_accuracy"][-1] for history in histories]
            for name, histories in by_optimizer(runs).items()
        }
        after = "epoch" if one.epochs == 1 else f"{one.epochs} epochs"
        mean = f", on average over {seeds} seeds" if seeds > 1 else ""
        text += (
            f"; at the end of ours, after {after} at {one.width:g} of the paper's "
            f"width, {_accuracies(ours)}{mean}"
        )
    return say(f"{text}.")


def _accuracies(values: Mapping[str, Sequence[float]]) -> str:
    """Each optimizer with its mean accuracy, as a phrase."""
    *most, last = (
        f"{_percent(sum(each) / len(each))} with {TITLES[name]}"
        for name, each in values.items()
    )
    return f"{', '.join(most)} and {last}" if most else last


def verdicts(
    statements: Sequence[Claim],
    authors: Mapping[str, History],
    runs: Sequence[Run],
) -> "HTML":
    """Return a table of statements with the numbers that decide each.

    Args:
        statements: the paper's, about one pair.
        authors: the authors' history for each optimizer.
        runs: ours, at most one of each optimizer and seed; may be empty. Each seed is
            judged by itself; the numbers are means over the seeds.
    """
    ours = by_seed(runs)
    reduced = any(run.experiment.scale != "paper" for run in runs)
    seeds = f"Ours, {len(ours)} seed{'s' * (len(ours) != 1)}"
    rows: list[list[str | None]] = []
    for statement in statements:
        judged = {"The authors'": statement.judge(authors)}
        if ours:
            judged[seeds] = over_seeds(statement.judge, ours, reduced=reduced)
        name: str | None = statement.text
        for whose, verdict in judged.items():
            for line in verdict.measured or (None,):
                numbers = [
                    line.written(each) if line and each in line.values else "–"
                    for each in PAPER_OPTIMIZERS
                ]
                what = line.name if line else verdict.evidence
                rows.append([name, whose, what, *numbers, verdict.answer])
                name = None
    header = ["The paper says", "Runs", "Compared"]
    header += [TITLES[name] for name in PAPER_OPTIMIZERS]
    return table([*header, "Verdict"], rows)


def first_epochs_table(pairs: Sequence["Pair"]) -> "HTML":
    """Return our first epochs and the authors' as a table, a row for each run.

    Args:
        pairs: of `gravity.evidence.first_epochs.pairs`.
    """
    rows = [
        [
            " × ".join(
                [
                    datasets.DATASETS[pair.key[0]].real_title,
                    models.TITLES[pair.key[1]],
                    TITLES[pair.key[2]],
                ]
            ),
            *(f"{share:.2f}" for share in reversed(pair.loss)),
            *(_percent(share) for share in reversed(pair.accuracy)),
            ("yes" if pair.agrees else "no") if pair.counts else "20 outputs",
        ]
        for pair in pairs
    ]
    header = ["Run", "Loss / ln C, authors", "ours", "Test accuracy, authors", "ours"]
    return table([*header, "Agrees"], rows)


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
    largest = max(images, key=lambda run: _operations(run.experiment), default=None)
    if largest is not None:
        paper = Experiment(
            dataset=dataset, architecture=architecture, optimizer="gravity"
        )
        ratio = _operations(paper) / _operations(largest.experiment)
        minutes = largest.provenance["seconds"] * ratio / 60
        time_taken = (
            f"{minutes / 60:,.0f} hours" if minutes >= 90 else f"{minutes:.0f} minutes"
        )
        rows["What it takes"] = (
            f"About {time_taken} for each optimizer on {_machine(largest)}, at "
            f"the operations a second of the run {largest.experiment.run_id}. An "
            "estimate, not a measurement."
        )
    listed = re.sub("`(.+?)`", r"<code>\1</code>", _definitions(rows))
    return _html(f'<div class="gravity-card">{listed}</div>')


def _operations(experiment: Experiment) -> int:
    """The floating-point operations of a whole run, but for its test images."""
    spec = datasets.DATASETS[experiment.dataset]
    images = experiment.epochs * (experiment.train_size or spec.train_size)
    return images * models.operations(
        experiment.architecture, spec.shape, spec.classes, experiment.width
    )


def _machine(run: Run) -> str:
    made = run.provenance
    return f"{made['cores']} cores of {environment.processor_of(made['device'])}"


def folded(summary: str, text: str) -> "HTML":
    """Return a sentence that unfolds to a longer text, kept as it is."""
    return _html(
        f'<details class="gravity-card"><summary>{html.escape(summary)}</summary>'
        f"<pre>{html.escape(text)}</pre></details>"
    )


def findings_list(results: Sequence["Finding"]) -> "Markdown":
    """Return the findings as a numbered list, each with a link to its figure."""
    lines = [
        f"{number}. **{one.answer.capitalize()}.** {one.hypothesis} {one.sentence} "
        f"[The figure](#{one.figure})"
        for number, one in enumerate(results, start=1)
    ]
    return say("\n".join(lines))


def winners(runs: Sequence[Run]) -> "HTML":
    """Return a table of each optimizer's run with the smallest last training loss."""
    return table(
        ["Optimizer", "Final training loss", "Arguments"],
        [
            [
                TITLES[run.experiment.optimizer],
                _loss(run.history["loss"][-1]),
                arguments(run),
            ]
            for run in in_order(best_runs(runs).values())
        ],
        prose=True,
    )


def best_runs(runs: Sequence[Run]) -> dict[str, Run]:
    """Return for each optimizer the run with the smallest last training loss.

    A run that diverged is the last choice, and of equal ones the first in order wins.
    """
    best: dict[str, Run] = {}
    for run in sorted(in_order(runs), key=_last_loss):
        best.setdefault(run.experiment.optimizer, run)
    return best


def _last_loss(run: Run) -> float:
    loss = run.history["loss"][-1]
    return math.inf if math.isnan(loss) else loss


def _loss(value: float) -> str:
    return f"{value:.4f}" if math.isfinite(value) else "diverged"


def _best(run: Run) -> str:
    accuracy = run.history["val_accuracy"]
    best = max(accuracy)
    return f"{_percent(best)} ({accuracy.index(best) + 1})"


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f} %"


LONGEST_LABEL = 12
"""Characters of a row's label that isn't worth a second line."""


def table(
    header: Iterable[str], rows: Iterable[Iterable[str | None]], *, prose: bool = False
) -> "HTML":
    """Return a table; its first column heads the rows.

    Args:
        header: the columns' names.
        rows: for each row the cells, as plain text. Columns with a number in them are
            aligned at the right; those of words alone wrap. `None` for a row's label
            joins the row with the one above.
        prose: whether the cells are sentences, which wrap, rather than numbers.
            Defaults to `False`.
    """
    cells_of = [list(row) for row in rows]
    words = [
        not any(_is_number(cell) for cell in column if cell)
        for column in zip(*cells_of, strict=True)
    ]
    kinds = [' class="gravity-words"' if each else "" for each in words]
    names = list(header)
    kinds += [""] * (len(names) - len(kinds))
    head = "".join(
        f'<th scope="col"{kind}>{html.escape(name)}</th>'
        for name, kind in zip(names, kinds, strict=True)
    )
    body, longest = "", 0
    for number, row in enumerate(cells_of):
        longest = max(longest, len(row[0] or ""))
        first, *rest = (html.escape(_with_minus(cell or "")) for cell in row)
        joined = itertools.takewhile(
            lambda below: below[0] is None, cells_of[number + 1 :]
        )
        rows_high = 1 + sum(1 for _ in joined)
        span = f' rowspan="{rows_high}"' if rows_high > 1 else ""
        label = "" if row[0] is None else f'<th scope="row"{span}>{first}</th>'
        # Sentences side by side are too many for a phone, which stacks them.
        tags = [
            f'{kind} data-column="{html.escape(name)}"' if prose else kind
            for name, kind in zip(names[1:], kinds[1:], strict=True)
        ]
        cells = "".join(
            f"<td{tag}>{_unbroken(cell) if prose else cell}</td>"
            for cell, tag in zip(rest, tags, strict=True)
        )
        body += f"<tr>{label}{cells}</tr>"
    kind = "gravity-table"
    if prose:
        kind += " gravity-prose"
    elif longest <= LONGEST_LABEL:
        kind += " gravity-short"
    return _html(
        # A table that is wider than the page is scrolled, with the keyboard as well.
        f'<div class="{kind}" tabindex="0" role="group" aria-label="Table">'
        f'<table class="table"><thead><tr>'
        f"{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def scientific(value: float, digits: int = 0) -> str:
    r"""Return a number as a product with a power of ten, in LaTeX without the dollars.

    Args:
        value: the number, finite.
        digits: how many follow the point. Defaults to 0.

    Example:
        >>> print(scientific(0.00042, 1))
        4.2 \cdot 10^{-4}
    """
    factor, power = f"{value:.{digits}e}".split("e")
    if not int(power):
        return factor
    if factor in ("1", "-1"):
        return rf"{factor[:-1]}10^{{{int(power)}}}"
    return rf"{factor} \cdot 10^{{{int(power)}}}"


def _with_minus(cell: str) -> str:
    """Return a cell whose numbers have the sign that they have in figures."""
    return re.sub(r"(?<![\w.])-(?=\d)", "−", cell)


def _is_number(cell: str) -> bool:
    return cell[:1] in "+-−–≥~" or cell[:1].isdigit()


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
    card = _html(
        f'<details class="gravity-card" {gate.attribute(shown)}>'
        f"<summary>How this page was made</summary>"
        f"<dl>{_items(rows)}{groups}</dl></details>"
    )
    display(card, metadata=COMPLETE)


FEW_RUNS = 12
"""How many runs are listed at once; a longer list has to be unfolded."""


def _list_of(group: Sequence[Run]) -> str:
    """Each run's name, when it was trained and how long, below what is true of all."""
    times = [datetime.fromisoformat(run.provenance["started"]) for run in group]
    each = "".join(
        f"<li><code>{run.experiment.run_id}</code> {_minute(time)}, "
        f"{_seconds(run):,.0f} s</li>"
        for run, time in zip(group, times, strict=True)
    )
    if len(group) <= FEW_RUNS:
        return f'<div class="gravity-runs"><ul>{each}</ul></div>'
    taken = _duration(sum(map(_seconds, group)))
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
        f"<dt>{html.escape(name)}</dt><dd>{_unbroken(html.escape(text))}</dd>"
        for name, text in rows.items()
    )


def _unbroken(text: str) -> str:
    """Keep an argument with its value on one line, and a number with its per cent."""
    return re.sub(r"(?<=\w) = (?=\S)|(?<=\d) (?=%)", _keep, text)


def _keep(spaces: re.Match[str]) -> str:
    return spaces[0].replace(" ", "&nbsp;")


def _html(text: str) -> "HTML":
    from IPython.display import HTML

    return HTML(text)
