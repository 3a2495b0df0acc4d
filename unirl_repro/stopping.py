"""SIGTERM and SIGUSR1: a request to stop at the next safe point, or to leave without one."""

import os
import signal
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

STOPPED = 75  # exit code, as sysexits' EX_TEMPFAIL: start it again and it goes on
REFUSED = "refused.json"  # beside a checkpoint: why the last attempt could not even begin
_REQUESTS = (signal.SIGTERM, signal.SIGUSR1)


class Stop:
    """Takes requests to stop while it is entered; the handlers of before come back at its end.

    Parameters
    ----------
    grace : float
        Seconds between a request and leaving, unless `disarm` tells that a safe point was reached.
    leave : callable
        What to write down, given the signal's name, before the process ends without one.

    Attributes
    ----------
    requested : str or None
        Name of the first signal that came.
    """

    def __init__(self, grace: float, leave: Callable[[str], None]):
        self.grace, self.leave = grace, leave
        self.requested: str | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Stop":
        for number in _REQUESTS:
            self._before[number] = signal.signal(number, self._on_request)
        self._before[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._on_late)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.disarm()
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def disarm(self) -> None:
        """A safe point is reached: there is no more hurry."""
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _on_request(self, number: int, frame: FrameType | None) -> None:
        if self.requested is None:  # another signal grants no more time
            self.requested = signal.Signals(number).name
            signal.setitimer(signal.ITIMER_REAL, self.grace)

    def _on_late(self, number: int, frame: FrameType | None) -> None:
        try:
            self.leave(self.requested or "")
        finally:
            os._exit(STOPPED)
