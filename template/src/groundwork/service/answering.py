"""Answers a batch of requests with one model call and one transaction in the prediction log."""

import asyncio
import logging
import os
import queue
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any

import msgspec
from numpy.typing import NDArray

from groundwork.core.errors import NoChampion, StoreError
from groundwork.documents.charter import Charter
from groundwork.documents.contract.contract import Dataset
from groundwork.documents.pilot import Pilot
from groundwork.models.serving import deciding
from groundwork.models.serving.predictor import arrays
from groundwork.service.champion import Champion, ModelLoader
from groundwork.service.metrics import Metrics
from groundwork.store.batches import Batch, Role, block
from groundwork.store.connection import utc_text
from groundwork.store.database import Store

Records = Sequence[Any]  # structs with the contract's columns as attributes
Raw = dict[str, list[Any]]  # the values of each column, as they were sent

IDLE_SECONDS = 10.0  # after which the prediction log is tried, if no request has written it

log = logging.getLogger(__name__)
_encoder = msgspec.json.Encoder()


class PredictionAnswer(msgspec.Struct, gc=False):
    """The answer to one record."""

    prediction_id: str
    score: float | dict[str, float] | None
    decision: str
    model_version: str
    role: Role


class Response(msgspec.Struct, gc=False):
    """The answer to a request."""

    model: str
    predictions: list[PredictionAnswer]


Answered = tuple[list[PredictionAnswer], list[Batch]]


class Answerer:
    """Answers batches for the batcher. Its methods run on the batcher's thread only."""

    def __init__(self, pilot: Pilot, store: Store, loader: ModelLoader, metrics: Metrics) -> None:
        charter: Charter = pilot.charter
        self._dataset: Dataset = pilot.contract.dataset
        self._features = self._dataset.features
        self._decision_columns = self._dataset.decision_columns if deciding.use_rows() else []
        self._logged = [column.name for column in self._dataset.logged]
        self._values_of = {column.name: attrgetter(column.name) for column in self._dataset.requested}
        self._timestamps = {column.name for column in self._dataset.timestamps}
        self._task = self._dataset.task
        self._key = self._dataset.key.name
        self._event_time = self._dataset.event_time.name
        self._model = charter.metadata.name
        self._worth = charter.value.parameters
        self._store = store
        self._loader = loader
        self._metrics = metrics
        self._canary_share = pilot.settings.canary_share
        self.problem = ""  # why the prediction log cannot be written; empty if it can
        self._tried_at = time.monotonic()
        self._shadow = AfterAnswer("shadow", self._score_shadow, metrics)
        self._log_later = (
            AfterAnswer("prediction-log", self._log, metrics) if pilot.settings.acknowledge == "answered" else None
        )

    def start(self) -> None:
        """Start the threads for work after the answer."""
        self._shadow.start()
        if self._log_later:
            self._log_later.start()

    def stop(self, timeout: float) -> None:
        """Finish the work after the answer, or give up after `timeout` seconds per queue."""
        self._shadow.stop(timeout)
        if self._log_later:
            self._log_later.stop(timeout)

    def answer_batch(self, requests: list[Records]) -> list[bytes]:
        """Return one JSON response per request, in their order.

        Raises NoChampion if no model is loaded, StoreError if the prediction log cannot be written.
        """
        records = [record for request in requests for record in request]
        answers, batches = self._no_model_rule(records) if self._loader.no_model else self._decide(records)
        if self._log_later:
            self._log_later.put(batches)
        else:
            self._log(batches)
        self._metrics.count_answered(answers, [len(request) for request in requests])
        responses, begin = [], 0
        for request in requests:
            responses.append(_encoder.encode(Response(self._model, answers[begin : begin + len(request)])))
            begin += len(request)
        return responses

    def _log(self, batches: list[Batch]) -> None:
        self._written(lambda: self._store.predictions.log(batches))

    async def keep_trying(self) -> None:
        """Try the prediction log if no request does, until cancelled; once a second while it cannot be written.

        A service that is not ready gets no requests, so no request would find out that the log can be written again.
        One that gets none for another reason would be called ready although its disk is full or its database read-only.
        """
        while True:
            await asyncio.sleep(1)
            if self.problem or time.monotonic() - self._tried_at > IDLE_SECONDS:
                with suppress(StoreError):
                    await asyncio.to_thread(self._written, self._store.predictions.try_writing)

    def _written(self, write: Callable[[], None]) -> None:
        """Call `write`, and note in `problem` whether it succeeded."""
        self._tried_at = time.monotonic()
        try:
            write()
        except StoreError as error:
            if not self.problem:
                log.error("prediction log not written", extra={"problem": str(error)})
            self.problem = str(error)
            raise
        if self.problem:
            log.info("prediction log written again")
        self.problem = ""

    def _decide(self, records: Records) -> Answered:
        champion, challenger = self._loader.champion, self._loader.challenger
        if champion is None:
            raise NoChampion(self._loader.problem)
        if challenger is None:
            return self._score(records, champion, "champion")
        to_canary = [_share(getattr(record, self._key)) < self._canary_share for record in records]
        stay = [record for record, canary in zip(records, to_canary, strict=True) if not canary]
        go = [record for record, canary in zip(records, to_canary, strict=True) if canary]
        if stay:
            self._shadow.put(stay)
        by_champion, batches = self._score(stay, champion, "champion") if stay else ([], [])
        by_canary, others = self._score(go, challenger, "canary") if go else ([], [])
        champions, canaries = iter(by_champion), iter(by_canary)
        return [next(canaries) if canary else next(champions) for canary in to_canary], batches + others

    def _score(self, records: Records, model: Champion, role: Role) -> Answered:
        raw = self._raw(records)
        scores = model.predictor.scores(arrays(raw, self._features))
        decisions = deciding.decide(scores, self._worth, self._rows(raw))
        return self._answered(raw, role, model.version, scores, decisions)

    def _no_model_rule(self, records: Records) -> Answered:
        raw = self._raw(records)
        decisions = deciding.without_model(arrays(raw, self._features), self._rows(raw))
        return self._answered(raw, "no-model", "", None, decisions)

    def _score_shadow(self, records: Records) -> None:
        challenger = self._loader.challenger
        if challenger is not None:
            answers, batches = self._score(records, challenger, "shadow")
            self._log(batches)
            self._metrics.count_predictions(answers)

    def _raw(self, records: Records) -> Raw:
        """Return the columns of the records."""
        return {name: list(map(value_of, records)) for name, value_of in self._values_of.items()}

    def _rows(self, raw: Raw) -> deciding.Rows:
        """Return the records as raw values, if the use case takes them."""
        if not self._decision_columns:
            return deciding.NO_ROWS
        return deciding.Rows(self._decision_columns, raw.__getitem__)

    def _answered(self, raw: Raw, role: Role, version: str, scores: NDArray | None, decisions: NDArray) -> Answered:
        """Return the answers and the batch for the log."""
        now = datetime.now(UTC)
        # Ids that grow with time are next to each other in the log's index, which takes a third of the time of random
        # ones. A batch's id is 48 bits of milliseconds and 48 random bits; a prediction's adds its number.
        batch_id = f"{int(now.timestamp() * 1000):012x}{os.urandom(6).hex()}"
        decided = decisions.tolist()
        shown = [None] * len(decided) if scores is None else self._task.shown(scores)
        record = {name: self._as_logged(name, raw[name]) for name in self._logged}
        key, at = self._key, self._event_time
        times = record[at] if at in record else self._as_logged(at, raw[at])
        batch = Batch(
            batch_id=batch_id,
            answered_at=utc_text(now),
            role=role,
            model_version=version,
            first_event_time=min(times),
            last_event_time=max(times),
            answered=len(decided),
            rows=len(decided),
            columns=block(
                keys=key if key in record else raw[key],
                times=at if at in record else times,
                decisions=decided,
                scores=None if scores is None else self._task.logged(scores),
                record=record,
            ),
        )
        answers = [
            PredictionAnswer(
                prediction_id=f"{batch_id}{number:08x}",
                score=score,
                decision=decision,
                model_version=version,
                role=role,
            )
            for number, (score, decision) in enumerate(zip(shown, decided, strict=True))
        ]
        return answers, [batch]

    def _as_logged(self, name: str, values: list[Any]) -> list[Any]:
        if name not in self._timestamps:
            return values
        return [None if moment is None else moment.isoformat() for moment in values]


class AfterAnswer:
    """Runs work after the answer on its own thread, behind a bounded queue, so that it never delays an answer.

    Items that do not fit into the queue, and items that fail, are dropped and counted.
    """

    MAX_WAITING = 1000

    def __init__(self, name: str, work: Callable[[Any], None], metrics: Metrics) -> None:
        self._work = work
        self._name = name
        self._metrics = metrics
        self._queue: queue.Queue[Any] = queue.Queue(self.MAX_WAITING)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def put(self, item: Any) -> None:
        """Add an item to the queue, or drop it if the queue is full."""
        try:
            self._queue.put_nowait(item)
        except queue.Full:
            self._metrics.dropped.labels(self._name, "full").inc()

    def stop(self, timeout: float) -> None:
        """Finish the waiting items, or give up after `timeout` seconds."""
        try:
            self._queue.put(None, timeout=timeout)
        except queue.Full:
            return
        self._thread.join(timeout)

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            try:
                self._work(item)
            except Exception as error:
                self._metrics.dropped.labels(self._name, "failed").inc()
                if not isinstance(error, StoreError):
                    log.exception("%s failed", self._name)


def _share(key: str) -> float:
    """Return a number in [0, 1) that is always the same for an entity, and evenly distributed over all entities."""
    return zlib.crc32(key.encode()) / 2**32
