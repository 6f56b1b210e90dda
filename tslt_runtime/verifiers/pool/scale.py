"""How many replicas a fleet has, and under which name: what is said of it where Ray is not installed."""

from __future__ import annotations

from dataclasses import dataclass

from tslt_wire import checks

APPLICATION = "tslt"
"""The name of the application in Ray Serve, unless told otherwise."""
TARGET_ONGOING = 16.0
"""Calls at a replica at once, on average, above which another one is started: by Little's law calls a second times the
time they wait and compute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How many replicas there are, and what each of them takes."""

    replicas: int = 1
    """As many as there are at least."""
    most: int | None = None
    """With autoscaling up to so many; None: without."""
    target_ongoing: float = TARGET_ONGOING
    """See ``TARGET_ONGOING``."""
    cpus: float = 1
    """Of one replica, as Ray counts them: it places replicas, and pins nothing."""
    gpus: float = 0
    """Likewise; 1 gives each replica a GPU of its own."""

    def __post_init__(self) -> None:
        """Raise TypeError or ValueError for what is no number of replicas, or of parts of a machine."""
        checks.integer("replicas", self.replicas, 1, None)
        if self.most is not None:
            checks.integer("most", self.most, self.replicas, None)
        checks.number("target_ongoing", self.target_ongoing, 0, None, above_low=True)
        for name in ("cpus", "gpus"):
            checks.number(name, getattr(self, name), 0, None)
