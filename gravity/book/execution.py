"""Executes a chapter with papermill, with checked parameters and a checked end."""

import ast
import functools
import json
import logging
import operator
import os
from collections.abc import Mapping
from pathlib import Path
from types import NoneType
from typing import Any

from gravity.book import gate
from gravity.book.parameters import fits


class ChapterError(RuntimeError):
    """A chapter didn't run to its end."""


def parameters(notebook: str | os.PathLike[str]) -> dict[str, dict[str, str]]:
    """Return a chapter's parameters, in the form of papermill's `inspect_notebook`.

    Papermill itself passes over a type such as `int | None`.

    Returns:
        For each name a dictionary with `name`, `inferred_type_name` (as source code;
        `None` where no type is declared), `default` (as source code) and `help` (the
        comment).

    Raises:
        ValueError: the file isn't a notebook, or its cell of parameters isn't Python.
    """
    import nbformat

    try:
        cells = nbformat.read(notebook, as_version=4).cells
    except OSError:
        raise
    except Exception as error:
        # nbformat raises what the first damage happens to cause.
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{notebook} isn't a notebook: {reason}") from error
    source = next(
        (c.source for c in cells if "parameters" in c.metadata.get("tags", ())), ""
    )
    try:
        statements = ast.parse(source).body
    except SyntaxError as error:
        raise ValueError(
            f"The parameters of {notebook} must be Python: {error}"
        ) from error
    found = {}
    for statement in statements:
        match statement:
            case ast.AnnAssign(ast.Name(name), annotation, ast.expr() as default):
                kind = ast.unparse(annotation)
            case ast.Assign([ast.Name(name)], default):
                kind = "None"
            case _:
                continue
        line = source.splitlines()[(statement.end_lineno or 1) - 1].encode()
        comment = line[statement.end_col_offset :].decode()
        found[name] = {
            "name": name,
            "inferred_type_name": kind,
            "default": ast.get_source_segment(source, default) or "",
            "help": comment.partition("#")[2].strip(),
        }
    return found


_KINDS = {
    "bool": bool,
    "int": int,
    "float": float,
    "str": str,
    "dict": dict,
    "list[int]": list[int],
    "list[float]": list[float],
    "list[str]": list[str],
    "None": NoneType,
}


def _declared(kind: str) -> Any:
    """Return the type that a parameter's source code names, such as `int | None`."""
    parts = [_KINDS.get(part) for part in kind.split(" | ")]
    # Any type beyond these is checked by the chapter, and "None" alone says of none.
    if kind == "None" or None in parts:
        return Any
    return functools.reduce(operator.or_, parts)


def _hint(text: str, declared: Any) -> str:
    """Return what to write instead of a text that is JSON."""
    try:
        value = json.loads(text)
    except ValueError:
        return ""
    if not fits(value, declared):
        return ""
    return f", which is JSON. In Python it is {value!r}"


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
    declared = _declared(kind)
    if isinstance(value, str) and kind != "str":
        try:
            literal = ast.literal_eval(
                value.capitalize() if kind == "bool" else value.strip()
            )
        except (ValueError, SyntaxError):
            literal = value
    if declared is Any:
        return literal
    if not fits(literal, declared):
        hint = _hint(value, declared) if isinstance(value, str) else ""
        raise ValueError(f"must be of type {kind}. Received: {value}{hint}")
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
        output: where the executed copy goes, a new file or one to be replaced; its
            folder is made.
        values: parameters to set, by name. A string is read as the declared type, and
            NumPy's numbers and arrays count as Python's.
        progress: whether to show a bar with a step a cell. Defaults to `True`.

    Returns:
        The path of the executed chapter.

    Raises:
        ValueError: an unknown parameter or one of the wrong type, a file that isn't a
            notebook, or an output that would replace the chapter or what isn't a
            regular file; nothing has run then.
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
    output = _writable(output)
    draft = output.with_suffix(".failed.ipynb")
    # One of an earlier try would be taken for this one's.
    draft.unlink(missing_ok=True)
    # All names are checked, and it would call one of type `int | None` unknown.
    log = logging.getLogger("papermill")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        papermill.execute_notebook(
            _escaped(notebook),
            _escaped(draft),
            checked,
            progress_bar=progress,
            # When it is asked to end while it computes, it prints a traceback.
            shutdown_kernel="immediate",
        )
    except Exception as error:
        kept = f"\nWhat it had computed is in {draft}." if draft.exists() else ""
        raise ChapterError(f"{notebook} failed: {error}{kept}") from error
    finally:
        log.setLevel(level)
    executed = nbformat.read(draft, as_version=4)
    cells = [cell for cell in executed.cells if "outputs" in cell]
    if gate.shown_runs(executed) is None:
        if all(cell.metadata.papermill.status == "completed" for cell in cells):
            reason = (
                "ran to its end, but doesn't end as a chapter does, with "
                "`cards.colophon()`"
            )
        else:
            reason = "ended before its last cell was complete"
        raise ChapterError(f"{notebook} {reason}. What it had computed is in {draft}.")
    _merge_parameters(executed, known, checked)
    nbformat.write(executed, draft)
    os.replace(draft, output)
    return output


def _escaped(path: str | os.PathLike[str]) -> str:
    """Return a path in which papermill fills in no parameters."""
    return os.fspath(path).replace("{", "{{").replace("}", "}}")


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


def _writable(output: str | os.PathLike[str]) -> Path:
    """Return the path of an output, in a folder that exists."""
    path = Path(output)
    if os.fspath(output).endswith(os.sep) or (path.exists() and not path.is_file()):
        raise ValueError(
            "Argument `output` must be a regular file or a new one. "
            f"Received: output={output}"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            "Argument `output` must be in a folder that exists or can be made. "
            f"Received: output={output} ({error})"
        ) from error
    return path
