"""The Prometheus metrics of the service: requests, loaded models, and the flows and drift recorded in the store.

A single process keeps its metrics in memory. Several workers keep them in the files of PROMETHEUS_MULTIPROC_DIR, as
prometheus_client does if that is set, so that a scrape of one worker returns the metrics of all.
"""

import asyncio
import os
from collections import Counter as Counts
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from groundwork import __version__
from groundwork.documents.owners import Owners
from groundwork.store.database import Store

if TYPE_CHECKING:
    from groundwork.service.answering import PredictionAnswer

SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
DRIFT_STATES = ("ok", "drift", "unknown")

disable_created_metrics()  # type: ignore[no-untyped-call] # they would double the number of series


class Metrics:
    """The metrics of one service process; `registry` returns those of all workers that share its files."""

    def __init__(self, owners: Owners, store: Store, due: Callable[[], date | None]) -> None:
        """Create the metrics. `due` returns the last day (UTC) for the decision about the pilot; None without one."""
        self.registry = CollectorRegistry()
        self._shared = "PROMETHEUS_MULTIPROC_DIR" in os.environ
        self._followed: list[tuple[Gauge, Callable[[], float]]] = []
        self._models: set[tuple[str, str, str, str, str]] = set()
        self._children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        PlatformCollector(registry=self.registry)
        self.registry.register(_Recorded(owners, store, due))
        if self._shared:
            self.registry.register(_Workers())
            own = CollectorRegistry()
        else:
            ProcessCollector(registry=self.registry)  # with several workers, each scrape would show another one
            own = self.registry
        self.requests = Counter("http_requests", "HTTP requests answered.", ["method", "route", "status"], registry=own)
        self.duration = Histogram(
            "http_request_duration_seconds",
            "Time from request to answer.",
            ["method", "route"],
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
            registry=own,
        )
        self.in_progress = Gauge(
            "http_requests_in_progress", "HTTP requests being answered.", registry=own, multiprocess_mode="livesum"
        )
        self.records = Histogram(
            "groundwork_request_records",
            "Records in one prediction request.",
            buckets=SIZES,
            registry=own,
        )
        self.batch = Histogram(
            "groundwork_batch_records",
            "Records that shared one model call.",
            buckets=SIZES,
            registry=own,
        )
        self.waiting = Gauge(
            "groundwork_requests_waiting",
            "Prediction requests that have no answer yet.",
            registry=own,
            multiprocess_mode="livesum",
        )
        self.ready = Gauge(
            "groundwork_ready",
            "1 if the service can answer: it has a champion or serves without a model, and can write the log.",
            registry=own,
            multiprocess_mode="livemin",
        )
        self.log_writable = Gauge(
            "groundwork_prediction_log_writable",
            "0 if the prediction log could not be written, such as on a full disk, until it can be again.",
            registry=own,
            multiprocess_mode="livemin",
        )
        self.clock_ahead = Gauge(
            "groundwork_clock_ahead_seconds",
            "How far the clock is ahead of the database's, or else the registry's; NaN if there is neither.",
            registry=own,
            multiprocess_mode="livemostrecent",
        )
        self.chain_whole = Gauge(
            "groundwork_promotion_log_whole",
            "0 if an entry of the promotion log was forged, altered or removed: the last good champion serves on.",
            registry=own,
            multiprocess_mode="livemin",
        )
        self.predictions = Counter(
            "groundwork_predictions",
            "Predictions, by role: champion, canary, no-model, or shadow (logged, not sent to the client).",
            ["model_version", "role", "decision"],
            registry=own,
        )
        self.dropped = Counter(
            "groundwork_dropped",
            "Batches of work after the answer that were lost: shadow scores, or the best-effort log.",
            ["work", "reason"],
            registry=own,
        )
        for work in ("shadow", "prediction-log"):
            for reason in ("full", "failed"):
                self.dropped.labels(work, reason)  # exists from the start, so that the first loss is an increase
        self.model = Gauge(
            "groundwork_model_info",
            "The versions that are loaded.",
            ["model", "version", "alias", "format", "source"],
            registry=own,
            multiprocess_mode="livemax",
        )
        self.model_refresh_failures = Counter(
            "groundwork_model_refresh_failures",
            "Failed attempts to load the champion of the promotion log or the challenger; the old model keeps serving.",
            registry=own,
        )

    def follow(self, gauge: Gauge, value: Callable[[], float]) -> None:
        """Set the gauge to the result of `value` at each scrape; with several workers, once a second."""
        if self._shared:
            self._followed.append((gauge, value))
        else:
            gauge.set_function(value)

    async def keep_following(self) -> None:
        """Write the followed gauges to the files for the other workers, once a second, until cancelled."""
        while self._followed:
            for gauge, value in self._followed:
                gauge.set(value())
            await asyncio.sleep(1)

    def observe_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request and its duration, under its route's template."""
        counter, histogram = self._of_route(method, route, status)
        counter.inc()
        histogram.observe(seconds)

    def _of_route(self, method: str, route: str, status: int) -> tuple[Counter, Histogram]:
        key = (method, route, status)
        found = self._children.get(key)
        if found is None:
            method = method if route != "unmatched" else "any"  # else each invented method would create a series
            found = self.requests.labels(method, route, str(status)), self.duration.labels(method, route)
            if route != "unmatched":
                self._children[key] = found
        return found

    def models(self, name: str, loaded: Mapping[str, tuple[str, str]], source: str) -> None:
        """Set which versions are loaded; `loaded` maps the alias to version and format."""
        present = {(name, version, alias, form, source) for alias, (version, form) in loaded.items()}
        for labels in present:
            self.model.labels(*labels).set(1)
        for labels in self._models - present:
            if self._shared:
                self.model.labels(*labels).set(0)  # files cannot remove a series
            else:
                self.model.remove(*labels)
        self._models = present

    def count_answered(self, answers: "Sequence[PredictionAnswer]", request_sizes: Sequence[int]) -> None:
        """Count the predictions and the requests of a batch."""
        self.batch.observe(len(answers))
        for size in request_sizes:
            self.records.observe(size)
        self.count_predictions(answers)

    def count_predictions(self, answers: "Sequence[PredictionAnswer]") -> None:
        """Count predictions by version, role and decision."""
        for labels, count in Counts((p.model_version, p.role, p.decision) for p in answers).items():
            self.predictions.labels(*labels).inc(count)


class _Workers(Collector):
    """The metrics of all workers, summed over their files."""

    def __init__(self) -> None:
        self._files = MultiProcessCollector(None)  # type: ignore[no-untyped-call]

    def collect(self) -> Iterable[Metric]:
        for metric in self._files.collect():  # type: ignore[no-untyped-call]
            if metric.name == "groundwork_model_info":
                metric.samples = [sample for sample in metric.samples if sample.value]
            yield metric


class _Recorded(Collector):
    """The metrics of flows, drift, owners and the decision's due date, read from store and documents at each scrape."""

    def __init__(self, owners: Owners, store: Store, due: Callable[[], date | None]) -> None:
        self._owners = owners
        self._store = store
        self._due = due

    def collect(self) -> Iterable[Metric]:
        build = GaugeMetricFamily("groundwork_build_info", "The version of Groundwork that runs.", labels=["version"])
        build.add_metric([__version__], 1)
        yield build
        owner = GaugeMetricFamily("groundwork_owner_info", "The owner of each role.", labels=["role", "name", "handle"])
        for role, person in self._owners.roles():
            owner.add_metric([role, person.name, person.handle], 1)
        yield owner
        if due := self._due():
            yield GaugeMetricFamily(
                "groundwork_decision_due_timestamp_seconds",
                "When the decision about the pilot becomes overdue.",
                value=datetime.combine(due + timedelta(days=1), time(), UTC).timestamp(),
            )
        yield from self._flows()
        yield from self._drift()
        yield from self._shadows()

    def _flows(self) -> Iterable[Metric]:
        scheduled = _gauge("groundwork_flow_scheduled_timestamp_seconds", "When the flow was scheduled.", "flow")
        success = _gauge("groundwork_flow_last_success_timestamp_seconds", "When the flow last succeeded.", "flow")
        failure = _gauge("groundwork_flow_last_failure_timestamp_seconds", "When the flow last failed.", "flow")
        duration = _gauge("groundwork_flow_duration_seconds", "Duration of the last run that succeeded.", "flow")
        rows_in = _gauge("groundwork_flow_rows_in", "Rows read by the last run that succeeded.", "flow")
        quarantined = _gauge("groundwork_flow_rows_quarantined", "Rows quarantined by the last successful run.", "flow")
        for run in self._store.runs.latest(succeeded=True):
            success.add_metric([run.flow], run.started_at.timestamp() + run.seconds)
            duration.add_metric([run.flow], run.seconds)
            if run.rows_in is not None:
                rows_in.add_metric([run.flow], run.rows_in)
            if run.rows_quarantined is not None:
                quarantined.add_metric([run.flow], run.rows_quarantined)
        for run in self._store.runs.latest(succeeded=False):
            failure.add_metric([run.flow], run.started_at.timestamp() + run.seconds)
        for flow, since in self._store.schedules.since().items():
            scheduled.add_metric([flow], since.timestamp())
        return scheduled, success, failure, duration, rows_in, quarantined

    def _shadows(self) -> Iterable[Metric]:
        rows = _gauge("groundwork_shadow_rows", "Records that challenger and champion both decided.", "model_version")
        agreement = _gauge(
            "groundwork_shadow_agreement_share", "Share of these records with equal decisions.", "model_version"
        )
        for version, (compared, share) in self._store.shadow.latest().items():
            rows.add_metric([version], compared)
            agreement.add_metric([version], share)
        return rows, agreement

    def _drift(self) -> Iterable[Metric]:
        drift = self._store.drift.latest()
        status = _gauge(
            "groundwork_drift_status", "1 for the current status; unknown until the first measurement.", "status"
        )
        present = drift.status if drift else "unknown"
        for state in DRIFT_STATES:
            status.add_metric([state], float(state == present))
        yield status
        if drift is None:
            return
        yield GaugeMetricFamily(
            "groundwork_drift_measured_timestamp_seconds",
            "When drift was last measured.",
            value=drift.measured_at.timestamp(),
        )
        if drift.status == "unknown":
            return  # no value: a gauge of 0 would look like no drift
        yield GaugeMetricFamily("groundwork_drift_share", "Share of the columns that drifted.", value=drift.share)
        yield GaugeMetricFamily("groundwork_drifted_features", "Columns that drifted.", value=len(drift.drifted))
        distance = _gauge("groundwork_drift_distance", "Distance from the training window.", "feature")
        for name, value in drift.distances.items():
            distance.add_metric([name], value)
        yield distance


def _gauge(name: str, documentation: str, label: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, documentation, labels=[label])
