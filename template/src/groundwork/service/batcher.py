"""Micro-batching: concurrent requests share one model call and one transaction.

A batch holds all requests that arrived while the last batch was answered. The batcher waits for more requests only if
the last batch had several, so a single client never waits. Batches grow with the load.
"""

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


class Overloaded(Exception):
    """Too many requests are waiting."""


class DeadlineExceeded(Exception):
    """The answer was not ready before the request's deadline."""


class WaitingRequest(Generic[Asked, Answer]):
    """A request that waits for its answer."""

    __slots__ = ("answer", "asked", "deadline", "expiry", "failure", "future", "rows")

    def __init__(self, asked: Asked, rows: int, deadline: float) -> None:
        self.asked = asked
        self.rows = rows
        self.deadline = deadline
        self.future: asyncio.Future[Answer]
        self.expiry: asyncio.TimerHandle
        self.answer: Answer | None = None
        self.failure: Exception | None = None


class Batcher(Generic[Asked, Answer]):
    """Passes batches of requests to `answer_batch` on its own thread, and the answers back to the event loop."""

    def __init__(
        self,
        answer_batch: Callable[[list[Asked]], list[Answer]],
        *,
        max_rows: int,
        linger_seconds: float,
        max_waiting: int,
        deadline_seconds: float,
    ) -> None:
        self._answer_batch = answer_batch
        self._max_rows = max_rows
        self._linger = linger_seconds
        self._max_waiting = max_waiting
        self._deadline = deadline_seconds
        self._queue: queue.SimpleQueue[WaitingRequest[Asked, Answer] | None] = queue.SimpleQueue()
        self._loop: asyncio.AbstractEventLoop
        self._thread: threading.Thread
        self._busy_since: float | None = None
        self.waiting = 0  # requests without an answer; only the event loop changes it

    def start(self) -> None:
        """Start the thread. Call it from the event loop that calls `submit`."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="batcher", daemon=True)
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Answer the waiting requests, then end; give up after `timeout` seconds if the model hangs."""
        self._queue.put(None)
        self._thread.join(timeout)

    @property
    def busy_seconds(self) -> float:
        """Seconds since the current batch started; 0 if there is none."""
        since = self._busy_since
        return time.monotonic() - since if since is not None else 0.0

    async def submit(self, asked: Asked, rows: int) -> Answer:
        """Return the answer to one request of `rows` records.

        Raises Overloaded, DeadlineExceeded, or the exception of `answer_batch`.
        """
        if self.waiting >= self._max_waiting:
            raise Overloaded
        request: WaitingRequest[Asked, Answer] = WaitingRequest(asked, rows, time.monotonic() + self._deadline)
        request.future = self._loop.create_future()
        request.expiry = self._loop.call_later(self._deadline, _expire, request)
        self.waiting += 1
        self._queue.put(request)
        try:
            return await request.future
        finally:
            self.waiting -= 1
            request.expiry.cancel()

    def _run(self) -> None:
        had_company = False
        while (first := self._queue.get()) is not None:
            batch, ended = self._collect(first, had_company)
            had_company = len(batch) > 1
            self._busy_since = time.monotonic()
            self._answer(batch)
            self._busy_since = None
            self._loop.call_soon_threadsafe(_deliver, batch)
            if ended:
                return

    def _collect(
        self, first: WaitingRequest[Asked, Answer], linger: bool
    ) -> tuple[list[WaitingRequest[Asked, Answer]], bool]:
        batch, rows = [first], first.rows
        until = time.monotonic() + self._linger if linger else 0.0
        while rows < self._max_rows:
            try:
                left = until - time.monotonic() if linger else 0.0
                request = self._queue.get_nowait() if left <= 0 else self._queue.get(timeout=left)
            except queue.Empty:
                break
            if request is None:
                return batch, True
            batch.append(request)
            rows += request.rows
        return batch, False

    def _answer(self, batch: list[WaitingRequest[Asked, Answer]]) -> None:
        now = time.monotonic()
        batch = [request for request in batch if request.deadline > now]
        if not batch:
            return
        try:
            for request, answer in zip(batch, self._answer_batch([request.asked for request in batch]), strict=True):
                request.answer = answer
        except Exception as error:
            if len(batch) == 1:
                batch[0].failure = error
                return
            for request in batch:  # one bad request must not fail the others
                self._answer([request])


def _deliver(batch: list[WaitingRequest[Asked, Answer]]) -> None:
    for request in batch:
        if request.future.done():
            continue
        if request.failure is not None:
            request.future.set_exception(request.failure)
        elif request.answer is not None:
            request.future.set_result(request.answer)
        else:
            request.future.set_exception(DeadlineExceeded())


def _expire(request: WaitingRequest[Asked, Answer]) -> None:
    if not request.future.done():
        request.future.set_exception(DeadlineExceeded())
