"""What the service tells Prometheus: its requests, the model it serves, and what the pipeline and monitor recorded.

One process keeps its figures in memory. Several that share a port keep them in files of PROMETHEUS_MULTIPROC_DIR, as
prometheus_client does once that is set, so that a scrape that meets one of them learns of all.
"""

import asyncio
import os
from collections import Counter as Counts
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta

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
from groundwork.store.predictions import Prediction

SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
DRIFT_STATES = ("ok", "drift", "unknown")

disable_created_metrics()  # type: ignore[no-untyped-call] # one more series per series, for nothing


class Metrics:
    """The metrics of one service process; `registry` tells those of all that share its files."""

    def __init__(self, owners: Owners, store: Store, due: Callable[[], date | None]) -> None:
        """`due` says by the end of which day, of UTC, the pilot must be decided on; None if by none."""
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
            ProcessCollector(registry=self.registry)  # of one among several, it would be another's at each scrape
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
            "1 if it can answer: a champion is loaded, or it serves without a model.",
            registry=own,
            multiprocess_mode="livemin",
        )
        self.predictions = Counter(
            "groundwork_predictions",
            "Predictions answered, by who answered: champion, canary, no-model, or shadow, whose answer is not given.",
            ["model_version", "role", "decision"],
            registry=own,
        )
        self.dropped = Counter(
            "groundwork_dropped",
            "Batches of work put off until after the answer, and lost: shadow scores, or the best-effort log.",
            ["work", "reason"],
            registry=own,
        )
        for work in ("shadow", "prediction-log"):
            for reason in ("full", "failed"):
                self.dropped.labels(work, reason)  # there from the start, so that the first one is an increase
        self.model = Gauge(
            "groundwork_model_info",
            "The versions that are loaded.",
            ["model", "version", "alias", "format", "source"],
            registry=own,
            multiprocess_mode="livemax",
        )
        self.model_refresh_failures = Counter(
            "groundwork_model_refresh_failures",
            "Attempts to load what the registry's aliases point to that failed; what served before serves on.",
            registry=own,
        )

    def follow(self, gauge: Gauge, value: Callable[[], float]) -> None:
        """Let the gauge show what `value` returns: at each scrape or, of another process, a second ago."""
        if self._shared:
            self._followed.append((gauge, value))
        else:
            gauge.set_function(value)

    async def keep_following(self) -> None:
        """Write down for the other processes what is followed, until cancelled."""
        while self._followed:
            for gauge, value in self._followed:
                gauge.set(value())
            await asyncio.sleep(1)

    def observe_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count and time one request under its route's template."""
        counter, histogram = self._of_route(method, route, status)
        counter.inc()
        histogram.observe(seconds)

    def _of_route(self, method: str, route: str, status: int) -> tuple[Counter, Histogram]:
        key = (method, route, status)
        found = self._children.get(key)
        if found is None:
            method = method if route != "unmatched" else "any"  # or each made-up method would be a series of its own
            found = self.requests.labels(method, route, str(status)), self.duration.labels(method, route)
            if route != "unmatched":
                self._children[key] = found
        return found

    def models(self, name: str, loaded: Mapping[str, tuple[str, str]], source: str) -> None:
        """Say which versions are loaded: alias to version and format."""
        present = {(name, version, alias, form, source) for alias, (version, form) in loaded.items()}
        for labels in present:
            self.model.labels(*labels).set(1)
        for labels in self._models - present:
            if self._shared:
                self.model.labels(*labels).set(0)  # files forget no series
            else:
                self.model.remove(*labels)
        self._models = present

    def count_answered(self, predictions: Sequence[Prediction], request_sizes: Sequence[int]) -> None:
        """Count what a batch answered."""
        self.batch.observe(len(predictions))
        for size in request_sizes:
            self.records.observe(size)
        self.count_predictions(predictions)

    def count_predictions(self, predictions: Sequence[Prediction]) -> None:
        for labels, count in Counts((p.model_version, p.role, p.decision) for p in predictions).items():
            self.predictions.labels(*labels).inc(count)


class _Workers(Collector):
    """The metrics of all workers, added up from their files."""

    def __init__(self) -> None:
        self._files = MultiProcessCollector(None)  # type: ignore[no-untyped-call]

    def collect(self) -> Iterable[Metric]:
        for metric in self._files.collect():  # type: ignore[no-untyped-call]
            if metric.name == "groundwork_model_info":
                metric.samples = [sample for sample in metric.samples if sample.value]
            yield metric


class _Recorded(Collector):
    """What the store holds about flows and drift, who owns what, and when it must be decided, read at each scrape."""

    def __init__(self, owners: Owners, store: Store, due: Callable[[], date | None]) -> None:
        self._owners = owners
        self._store = store
        self._due = due

    def collect(self) -> Iterable[Metric]:
        build = GaugeMetricFamily("groundwork_build_info", "The version of Groundwork that runs.", labels=["version"])
        build.add_metric([__version__], 1)
        yield build
        owner = GaugeMetricFamily("groundwork_owner_info", "Who answers for it.", labels=["role", "name", "handle"])
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
        scheduled = _gauge("groundwork_flow_scheduled_timestamp_seconds", "Since when the flow has a schedule.", "flow")
        success = _gauge("groundwork_flow_last_success_timestamp_seconds", "When the flow last succeeded.", "flow")
        failure = _gauge("groundwork_flow_last_failure_timestamp_seconds", "When the flow last failed.", "flow")
        duration = _gauge("groundwork_flow_duration_seconds", "Duration of the last run that succeeded.", "flow")
        rows_in = _gauge("groundwork_flow_rows_in", "Rows read by the last run that succeeded.", "flow")
        quarantined = _gauge("groundwork_flow_rows_quarantined", "Rows that it put into quarantine.", "flow")
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
            "groundwork_shadow_agreement_share", "Share of them that they decided alike.", "model_version"
        )
        for version, (compared, share) in self._store.shadow.latest().items():
            rows.add_metric([version], compared)
            agreement.add_metric([version], share)
        return rows, agreement

    def _drift(self) -> Iterable[Metric]:
        drift = self._store.drift.latest()
        status = _gauge(
            "groundwork_drift_status", "1 for the present status; unknown until something was measured.", "status"
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
            return  # no figures: a gauge of 0 would read as no drift
        yield GaugeMetricFamily("groundwork_drift_share", "Share of the columns that drifted.", value=drift.share)
        yield GaugeMetricFamily("groundwork_drifted_features", "Columns that drifted.", value=len(drift.drifted))
        distance = _gauge("groundwork_drift_distance", "Distance from the training window.", "feature")
        for name, value in drift.distances.items():
            distance.add_metric([name], value)
        yield distance


def _gauge(name: str, documentation: str, label: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, documentation, labels=[label])
