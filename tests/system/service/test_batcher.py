import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from groundwork.service.batcher import Batcher, DeadlineExceeded, Overloaded


class Model:
    """Answers each question with its double, and remembers its batches. It waits until it is let go."""

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []
        self.go = threading.Event()
        self.go.set()

    def __call__(self, batch: list[Any]) -> list[Any]:
        self.batches.append(batch)
        assert self.go.wait(10)
        if "bad" in batch:
            raise ValueError("a bad question")
        return [2 * asked for asked in batch]


@pytest.fixture
def model() -> Model:
    return Model()


def run(model: Model, ask: Callable[[Batcher], Any], **limits: Any) -> Any:
    pilot = {"max_rows": 100, "linger_seconds": 0.001, "max_waiting": 100, "deadline_seconds": 5} | limits

    async def go() -> Any:
        batcher: Batcher = Batcher(model, **pilot)
        batcher.start()
        try:
            return await ask(batcher)
        finally:
            model.go.set()
            batcher.stop(5)

    return asyncio.run(go())


def test_each_request_gets_its_own_answer(model: Model) -> None:
    async def ask(batcher: Batcher) -> list[int]:
        return await asyncio.gather(*(batcher.submit(number, 1) for number in range(50)))

    assert run(model, ask) == [2 * number for number in range(50)]


def test_requests_that_come_while_the_model_is_busy_share_one_call(model: Model) -> None:
    async def ask(batcher: Batcher) -> None:
        model.go.clear()
        first = asyncio.create_task(batcher.submit(0, 1))
        while not model.batches:
            await asyncio.sleep(0.001)
        others = [asyncio.create_task(batcher.submit(number, 1)) for number in range(1, 20)]
        await asyncio.sleep(0)
        model.go.set()
        await asyncio.gather(first, *others)

    run(model, ask)
    assert [len(batch) for batch in model.batches] == [1, 19]


def test_no_batch_grows_beyond_its_limit(model: Model) -> None:
    async def ask(batcher: Batcher) -> None:
        await asyncio.gather(*(batcher.submit(number, 10) for number in range(20)))

    run(model, ask, max_rows=30)
    assert max(len(batch) for batch in model.batches) <= 3


def test_a_bad_request_does_not_fail_its_neighbours(model: Model) -> None:
    async def ask(batcher: Batcher) -> list[Any]:
        model.go.clear()
        waiting = [asyncio.create_task(batcher.submit(asked, 1)) for asked in (1, "bad", 3, 4)]
        await asyncio.sleep(0.05)
        model.go.set()
        return await asyncio.gather(*waiting, return_exceptions=True)

    one, bad, *others = run(model, ask)
    assert [one, *others] == [2, 6, 8]
    assert isinstance(bad, ValueError)


def test_more_than_may_wait_are_refused_at_once(model: Model) -> None:
    async def ask(batcher: Batcher) -> list[Any]:
        model.go.clear()
        waiting = [asyncio.create_task(batcher.submit(number, 1)) for number in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await batcher.submit(4, 1)
        model.go.set()
        return await asyncio.gather(*waiting)

    assert run(model, ask, max_waiting=3) == [0, 2, 4]


def test_an_answer_that_comes_too_late_is_given_up(model: Model) -> None:
    async def ask(batcher: Batcher) -> Any:
        model.go.clear()
        with pytest.raises(DeadlineExceeded):
            await batcher.submit(1, 1)
        assert batcher.busy_seconds > 0
        assert batcher.waiting == 0
        model.go.set()
        return await batcher.submit(2, 1)

    assert run(model, ask, deadline_seconds=0.1) == 4


def test_what_waits_is_answered_before_it_stops(model: Model) -> None:
    async def ask(batcher: Batcher) -> list[int]:
        waiting = [asyncio.create_task(batcher.submit(number, 1)) for number in range(5)]
        await asyncio.sleep(0)
        await asyncio.to_thread(batcher.stop, 5)
        return await asyncio.gather(*waiting)

    assert run(model, ask) == [0, 2, 4, 6, 8]
