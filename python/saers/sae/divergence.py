"""Training that goes wrong: a loss that is no longer finite, or that rose and stays up."""

import math

_LEAST = 0.01  # below this share of the variance, what is small may well multiply


class TrainingDivergedError(ArithmeticError):
    """The loss or a weight became NaN or infinite, or the loss rose for good.

    The last good checkpoint is kept.
    """


class Watch:
    """Notices an error that stays far above the lowest that a run has reached.

    Parameters
    ----------
    factor
        How many times the lowest is too much; None for never.
    patience
        Steps for which it has to stay there.
    lowest
        Lowest fraction of variance unexplained so far.

    Examples
    --------
    >>> watch = Watch(5.0, patience=20)
    >>> [watch.see(step, fvu) for step, fvu in ((10, 0.1), (20, 0.6), (30, 0.7), (40, 0.6))]
    [False, False, False, True]
    >>> watch.risen_since
    20
    """

    def __init__(self, factor: float | None, patience: int, lowest: float = math.inf) -> None:
        self._factor, self._patience = factor, patience
        self.lowest = lowest
        self.risen_since: int | None = None
        """First of the steps in a row at which the error was too high, None where it is not."""

    def see(self, step: int, fvu: float) -> bool:
        """Look at a step; True where the run has diverged."""
        self.lowest = min(self.lowest, max(fvu, _LEAST))
        if self._factor is None or fvu <= self._factor * self.lowest:
            self.risen_since = None
            return False
        if self.risen_since is None:
            self.risen_since = step
        return step - self.risen_since >= self._patience
