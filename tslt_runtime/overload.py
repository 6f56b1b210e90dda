"""What is raised where an edge cannot take a request now."""

from __future__ import annotations

from functools import partial


class Overloaded(Exception):
    """The edge cannot take this session or request now; ``retry_after_s`` seconds later it may."""

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        """``message``: for people."""
        super().__init__(f"{message}; try again in {max(0.1, retry_after_s):.1f} s")
        self._message = message
        self.retry_after_s = retry_after_s

    def __reduce__(self) -> tuple[object, ...]:
        """For those that travel from another process."""
        return partial(Overloaded, retry_after_s=self.retry_after_s), (self._message,)
