"""The text of the dataset `topics`: Python's own help, as classes of characters.

Each version of Python has it a little different. So a text has a fingerprint, which is
part of the names of the runs on it. Unlike generated data, any of them is as good as
another.
"""

import functools
import hashlib

import numpy as np

from gravity.experiments.files import DatasetError

MARK = "text-"
"""The beginning of the fingerprint of a text."""
CHARACTERS = "\n" + "".join(map(chr, range(32, 127)))
"""The characters with a class of their own: line feed and printable ASCII, in order.
All others share the class that comes after them."""

# All versions of Python since 3.11 have text enough, and so their runs are of one size.
LENGTH = 64
TRAIN_SIZE = 5000
TEST_SIZE = 600


def topics_text() -> str:
    """Return the text of the dataset `topics`, the same for one version of Python.

    It is the help that Python's `help()` prints about the language, its topics sorted
    by name. Topics quote each other; of paragraphs that occur more than once only the
    first is kept, so that the test text isn't in the training text already.

    Raises:
        DatasetError: this Python has no such module.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise DatasetError(
            "The text is part of Python's standard library, but this Python lacks the "
            "module pydoc_data.topics"
        ) from error
    whole = "\n\n".join(topics[name] for name in sorted(topics))
    return "\n\n".join(dict.fromkeys(whole.split("\n\n")))


def encode_text(text: str) -> np.ndarray:
    """Return the class of each character, int32; see `CHARACTERS`."""
    classes = {character: number for number, character in enumerate(CHARACTERS)}
    other = len(CHARACTERS)
    return np.array([classes.get(character, other) for character in text], np.int32)


def decode_text(classes: np.ndarray) -> str:
    """Return the characters of a sequence of classes, those that share one as `�`."""
    return "".join((CHARACTERS + "\N{REPLACEMENT CHARACTER}")[each] for each in classes)


def parse() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the text's beginning, cut into blocks, the last of which are for the test.

    A block holds one character more than a sequence: inputs are all but its last,
    targets all but its first. So no character belongs to two sequences.
    """
    block = LENGTH + 1
    needed = (TRAIN_SIZE + TEST_SIZE) * block
    text = topics_text()
    if len(text) < needed:
        raise DatasetError(
            f"The text must have {needed:,} characters. Received: {len(text):,}"
        )
    blocks = encode_text(text[:needed]).reshape(-1, block)
    train, test = np.split(blocks, [TRAIN_SIZE])
    return train[:, :-1], train[:, 1:], test[:, :-1], test[:, 1:]


@functools.cache
def fingerprint() -> str:
    """Return the mark of the text of this Python, computed once."""
    try:
        digest = hashlib.sha256(topics_text().encode()).hexdigest()
    except DatasetError:
        return f"{MARK}missing"
    return MARK + digest[:12]
