"""Sentences and numbers as a reader writes them."""

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gravity.experiments.optimizers import TITLES, Argument
from gravity.experiments.runs import History, Run, by_optimizer

if TYPE_CHECKING:
    from IPython.display import HTML, Markdown

    from gravity.evidence.findings import Finding


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
        f"{percent(sum(each) / len(each))} with {TITLES[name]}"
        for name, each in values.items()
    )
    return f"{', '.join(most)} and {last}" if most else last


def findings_list(results: Sequence["Finding"]) -> "Markdown":
    """Return the findings as a numbered list, each with a link to its figure."""
    lines = [
        f"{number}. **{one.answer.capitalize()}.** {one.hypothesis} {one.sentence} "
        f"[The figure](#{one.figure})"
        for number, one in enumerate(results, start=1)
    ]
    return say("\n".join(lines))


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


def duration(seconds: float) -> str:
    """Return a time in the unit in which one would say it, without false precision."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    hours = seconds / 3600
    if hours < 48:
        return f"{hours:.1f} h" if hours < 9.95 else f"{hours:.0f} h"
    return f"{hours / 24:.0f} days"


def training_time(runs: Iterable[Run]) -> str:
    """Return how long runs trained in total, as a reader takes it in."""
    return duration(sum(run.provenance.get("seconds", 0.0) for run in runs))


def arguments(run: Run) -> str:
    """Return the arguments of a run's optimizer as a reader writes them."""
    return ", ".join(
        f"{name} = {argument(value)}"
        for name, value in run.experiment.arguments.items()
    )


def argument(value: Argument) -> str:
    """Return an argument's value as a reader writes it."""
    return str(value) if isinstance(value, bool | str) else f"{value:g}"


def percent(fraction: float) -> str:
    """Return a fraction in per cent, with one digit after the point."""
    return f"{100 * fraction:.1f} %"


def unbroken(text: str) -> str:
    """Return HTML in which no line ends between a name and its value, or before %."""
    return re.sub(r"(?<=\w) = (?=\S)|(?<=\d) (?=%)", _keep, text)


def _keep(spaces: re.Match[str]) -> str:
    return spaces[0].replace(" ", "&nbsp;")


def markup(text: str) -> "HTML":
    """Return HTML for a cell to show."""
    from IPython.display import HTML

    return HTML(text)
