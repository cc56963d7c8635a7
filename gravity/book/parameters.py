"""A chapter's parameters are those that it declares, of the types that it declares."""

from collections.abc import Mapping
from types import UnionType
from typing import Any, Union, get_args, get_origin


def check(namespace: Mapping[str, Any]) -> None:
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


def _type_name(kind: Any) -> str:
    return str(kind) if get_origin(kind) else kind.__name__
