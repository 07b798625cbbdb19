"""Notices that this machine's clock is far off: answers would carry false times, and windows false rows.

It is compared with the clock of the database, or of the registry if the store is a file. With neither there is nothing
to compare it with, and nothing is told.
"""

import asyncio
import logging
from collections.abc import Callable

from groundwork.core.errors import StoreError

SECONDS = 30.0  # between two comparisons
LIMIT = 300.0  # seconds; Kerberos refuses tickets beyond as many (RFC 4120)

log = logging.getLogger(__name__)


class Clock:
    """How far the clock is ahead of another one, in seconds; None if there is none to compare it with."""

    def __init__(self, of_store: Callable[[], float | None], of_registry: Callable[[], float | None]) -> None:
        self.ahead: float | None = None
        self._sources = {"the database": of_store, "the registry": of_registry}
        self._other = ""

    @property
    def problem(self) -> str:
        """What is wrong with the clock; empty if it is not known to be far off."""
        if self.ahead is None or abs(self.ahead) <= LIMIT:
            return ""
        side = "ahead of" if self.ahead > 0 else "behind"
        return f"the clock of this machine is {abs(self.ahead):,.0f} s {side} that of {self._other}"

    async def keep_comparing(self) -> None:
        """Compare the clocks until cancelled."""
        while True:
            before = self.problem
            await asyncio.to_thread(self._compare)
            if self.problem and not before:
                log.error("clock far off", extra={"problem": self.problem})
            elif before and not self.problem:
                log.info("clock right again")
            await asyncio.sleep(SECONDS)

    def _compare(self) -> None:
        for other, measure in self._sources.items():
            try:
                self.ahead, self._other = measure(), other
            except StoreError:  # the prediction log fails too and reports it
                continue
            if self.ahead is not None:
                return
