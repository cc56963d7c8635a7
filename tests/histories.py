"""Histories for tests of what is said of histories."""


def history(accuracy, loss=None):
    """A history whose test values are its training values."""
    loss = [1 - value for value in accuracy] if loss is None else loss
    return {
        "loss": loss,
        "accuracy": accuracy,
        "val_loss": loss,
        "val_accuracy": accuracy,
    }


RISING = history([0.1, 0.4, 0.8])
SLOW = history([0.1, 0.2, 0.8])
PEAKING = history([0.1, 0.9, 0.7])
LOW = history([0.1, 0.2, 0.3])
