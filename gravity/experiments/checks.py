"""Checks of arguments: each returns the value, or says what would be accepted."""

import math
from collections.abc import Iterable


def choice(name: str, value: object, accepted: Iterable[str]) -> str:
    """Return a word that is one of those accepted.

    Args:
        name: the argument's name, for the message.
        value: the argument.
        accepted: the words.

    Raises:
        ValueError: it is none of them.
    """
    accepted = tuple(accepted)
    if value not in accepted:
        raise ValueError(
            f"Argument `{name}` must be one of {', '.join(accepted)}. "
            f"Received: {name}={value!r}"
        )
    return str(value)


def integer(name: str, value: object, least: int) -> int:
    """Return an integer that is at least `least`; see `choice`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(
            f"Argument `{name}` must be an integer, at least {least}. "
            f"Received: {name}={value!r}"
        )
    return value


def positive(name: str, value: object) -> float:
    """Return a positive finite number as a float; see `choice`."""
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not 0 < value < math.inf
    ):
        raise ValueError(
            f"Argument `{name}` must be a positive finite number. "
            f"Received: {name}={value!r}"
        )
    return float(value)
