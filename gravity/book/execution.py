"""Executes a chapter with papermill, with checked parameters and a checked end."""

import ast
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gravity.book import gate
from gravity.book.parameters import fits


class ChapterError(RuntimeError):
    """A chapter didn't run to its end."""


def parameters(notebook: str | os.PathLike[str]) -> dict[str, dict[str, str]]:
    """Return a chapter's parameters as papermill finds them.

    Returns:
        For each name a dictionary with `inferred_type_name`, `default` (as source
        code) and `help` (the comment).
    """
    import papermill

    return papermill.inspect_notebook(str(notebook))


_KINDS = {
    "bool": bool,
    "int": int,
    "float": float,
    "str": str,
    "dict": dict,
    "list[int]": list[int],
    "list[float]": list[float],
    "list[str]": list[str],
}


def parse(value: Any, kind: str) -> Any:
    """Return a parameter's value as the built-in type that a notebook can be given.

    Args:
        value: a text of the command line, which is a Python literal, or bare text for
            a `str`; or the value itself, also as NumPy has it.
        kind: the parameter's declared type.

    Raises:
        ValueError: the value isn't of that type, or a text no literal of it.
    """
    literal = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, str) and kind != "str":
        try:
            literal = ast.literal_eval(
                value.capitalize() if kind == "bool" else value.strip()
            )
        except (ValueError, SyntaxError):
            literal = None
    # Any type that a chapter declares beyond these is checked by the chapter.
    if kind in _KINDS and not fits(literal, _KINDS[kind]):
        raise ValueError(f"must be of type {kind}. Received: {value}")
    return float(literal) if kind == "float" else literal


def execute(
    notebook: str | os.PathLike[str],
    output: str | os.PathLike[str],
    values: Mapping[str, Any] | None = None,
    *,
    progress: bool = True,
) -> Path:
    """Execute a chapter from top to bottom in a fresh kernel.

    `output` appears only when the chapter ran to its end. What a failed one had
    computed is kept beside it, as `<name>.failed.ipynb`.

    Args:
        notebook: the chapter.
        output: where the executed copy goes; its folder is made.
        values: parameters to set, by name. A string is read as the declared type, and
            NumPy's numbers and arrays count as Python's.
        progress: whether to show a bar with a step a cell. Defaults to `True`.

    Returns:
        The path of the executed chapter.

    Raises:
        ValueError: an unknown parameter or one of the wrong type, or an output that
            would replace the chapter; nothing has run then.
        ChapterError: a cell failed, the kernel died, or the chapter ended early.
    """
    import nbformat
    import papermill

    if Path(output).resolve() == Path(notebook).resolve():
        raise ValueError(
            "Argument `output` must be another file than the chapter. "
            f"Received: output={output}"
        )
    known = parameters(notebook)
    accepted = ", ".join(
        f"{name} ({entry['inferred_type_name']})" for name, entry in known.items()
    )
    checked = {}
    for name, value in (values or {}).items():
        if name not in known:
            raise ValueError(
                f"Unknown parameter {name} of {notebook}. "
                f"Accepted are: {accepted or 'none'}."
            )
        try:
            checked[name] = parse(value, known[name]["inferred_type_name"])
        except ValueError as error:
            raise ValueError(
                f"Parameter {name} {error}. Accepted are: {accepted}."
            ) from None
    output = Path(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    draft = output.with_suffix(".failed.ipynb")
    try:
        papermill.execute_notebook(
            str(notebook), str(draft), checked, progress_bar=progress
        )
    except Exception as error:
        raise ChapterError(
            f"{notebook} failed: {error}\nWhat it had computed is in {draft}."
        ) from error
    executed = nbformat.read(draft, as_version=4)
    if gate.shown_runs(executed) is None:
        raise ChapterError(
            f"{notebook} ended before its last cell was complete. "
            f"What it had computed is in {draft}."
        )
    _merge_parameters(executed, known, checked)
    nbformat.write(executed, draft)
    os.replace(draft, output)
    return output


def _merge_parameters(
    executed: Any, known: Mapping[str, Mapping[str, str]], values: Mapping[str, Any]
) -> None:
    """Have the cell that declares the parameters show the values that were used.

    Papermill leaves the defaults there and adds a cell with the values below, so that
    a reader sees two values for one name.
    """
    executed.cells = [
        cell
        for cell in executed.cells
        if "injected-parameters" not in cell.metadata.get("tags", [])
    ]
    for cell in executed.cells:
        if "parameters" in cell.metadata.get("tags", []):
            lines = cell.source.splitlines()
            for number, line in enumerate(lines):
                name = line.partition(":")[0]
                if name in values:
                    before = f" = {known[name]['default']}"
                    after = f" = {values[name]!r}"
                    lines[number] = line.replace(before, after, 1)
            cell.source = "\n".join(lines)
