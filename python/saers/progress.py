"""What a long function tells its caller while it works."""

from typing import Protocol


class Progress(Protocol):
    """Receives the progress of one task; the command line draws it, a library user may not."""

    def start(self, description: str, total: int | None) -> None:
        """Begin a task of ``total`` steps (None: not known)."""

    def advance(self, steps: int = 1) -> None:
        """Report that ``steps`` more are done."""

    def say(self, message: str) -> None:
        """Report one line that should stay readable after the task."""


class Silent:
    """A progress that nobody watches.

    Examples
    --------
    >>> Silent().advance(3)
    """

    def start(self, description: str, total: int | None) -> None:
        """Ignore the task."""

    def advance(self, steps: int = 1) -> None:
        """Ignore the steps."""

    def say(self, message: str) -> None:
        """Ignore the line."""


SILENT = Silent()
