"""The Gravity optimizer for Keras 3, and what the book about it runs on.

`gravity.Gravity` is the optimizer. Importing the package loads neither Keras nor a
backend; the first use of `Gravity` does.

References:
    - [Bahrami and Pouriyan Zadeh, Gravity Optimizer: a Kinematic Approach on
      Optimization in Deep Learning](https://arxiv.org/abs/2101.09192)
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gravity.optimizer import Gravity

__version__ = "0.1.0"

__all__ = ["Gravity", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "Gravity":
        from gravity.optimizer import Gravity

        return Gravity
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
