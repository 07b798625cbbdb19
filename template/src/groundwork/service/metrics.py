"""What the service tells Prometheus: its requests, the model it serves, and what the pipeline and monitor recorded."""

from collections import Counter as Counts
from collections.abc import Iterable, Mapping, Sequence

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
from prometheus_client.registry import Collector

from groundwork.owners import Owners
from groundwork.store import Prediction, Store

SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
DRIFT_STATES = ("ok", "drift", "unknown")

disable_created_metrics()  # type: ignore[no-untyped-call] # one more series per series, for nothing


class Metrics:
    """The metrics of one service process."""

    def __init__(self, owners: Owners, store: Store) -> None:
        self.registry = CollectorRegistry()
        self._models: set[tuple[str, str, str, str, str]] = set()
        self._children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.registry.register(_Recorded(owners, store))
        self.requests = Counter(
            "http_requests", "HTTP requests answered.", ["method", "route", "status"], registry=self.registry
        )
        self.duration = Histogram(
            "http_request_duration_seconds",
            "Time from request to answer.",
            ["method", "route"],
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
            registry=self.registry,
        )
        self.in_progress = Gauge("http_requests_in_progress", "HTTP requests being answered.", registry=self.registry)
        self.records = Histogram(
            "groundwork_request_records",
            "Records in one prediction request.",
            buckets=SIZES,
            registry=self.registry,
        )
        self.batch = Histogram(
            "groundwork_batch_records",
            "Records that shared one model call.",
            buckets=SIZES,
            registry=self.registry,
        )
        self.waiting = Gauge(
            "groundwork_requests_waiting", "Prediction requests that have no answer yet.", registry=self.registry
        )
        self.ready = Gauge(
            "groundwork_ready",
            "1 if it can answer: a champion is loaded, or it serves without a model.",
            registry=self.registry,
        )
        self.predictions = Counter(
            "groundwork_predictions",
            "Predictions answered, by who answered: champion, canary, no-model, or shadow, whose answer is not given.",
            ["model_version", "role", "decision"],
            registry=self.registry,
        )
        self.dropped = Counter(
            "groundwork_dropped",
            "Batches of work put off until after the answer, and lost: shadow scores, or the best-effort log.",
            ["work", "reason"],
            registry=self.registry,
        )
        for work in ("shadow", "prediction-log"):
            for reason in ("full", "failed"):
                self.dropped.labels(work, reason)  # there from the start, so that the first one is an increase
        self.model = Gauge(
            "groundwork_model_info",
            "The versions that are loaded.",
            ["model", "version", "alias", "format", "source"],
            registry=self.registry,
        )
        self.model_refresh_failures = Counter(
            "groundwork_model_refresh_failures",
            "Attempts to load what the registry's aliases point to that failed; what served before serves on.",
            registry=self.registry,
        )

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


class _Recorded(Collector):
    """What the store holds about flows and drift, and who owns what, read at each scrape."""

    def __init__(self, owners: Owners, store: Store) -> None:
        self._owners = owners
        self._store = store

    def collect(self) -> Iterable[Metric]:
        owner = GaugeMetricFamily("groundwork_owner_info", "Who answers for it.", labels=["role", "name", "handle"])
        for role, person in self._owners.roles():
            owner.add_metric([role, person.name, person.handle], 1)
        yield owner
        yield from self._flows()
        yield from self._drift()
        yield from self._shadows()

    def _flows(self) -> Iterable[Metric]:
        success = _gauge("groundwork_flow_last_success_timestamp_seconds", "When the flow last succeeded.", "flow")
        failure = _gauge("groundwork_flow_last_failure_timestamp_seconds", "When the flow last failed.", "flow")
        duration = _gauge("groundwork_flow_duration_seconds", "Duration of the last run that succeeded.", "flow")
        rows_in = _gauge("groundwork_flow_rows_in", "Rows read by the last run that succeeded.", "flow")
        quarantined = _gauge("groundwork_flow_rows_quarantined", "Rows that it put into quarantine.", "flow")
        for run in self._store.latest_runs(succeeded=True):
            success.add_metric([run.flow], run.started_at.timestamp() + run.seconds)
            duration.add_metric([run.flow], run.seconds)
            if run.rows_in is not None:
                rows_in.add_metric([run.flow], run.rows_in)
            if run.rows_quarantined is not None:
                quarantined.add_metric([run.flow], run.rows_quarantined)
        for run in self._store.latest_runs(succeeded=False):
            failure.add_metric([run.flow], run.started_at.timestamp() + run.seconds)
        return success, failure, duration, rows_in, quarantined

    def _shadows(self) -> Iterable[Metric]:
        rows = _gauge("groundwork_shadow_rows", "Records that challenger and champion both decided.", "model_version")
        agreement = _gauge(
            "groundwork_shadow_agreement_share", "Share of them that they decided alike.", "model_version"
        )
        for version, (compared, share) in self._store.latest_shadows().items():
            rows.add_metric([version], compared)
            agreement.add_metric([version], share)
        return rows, agreement

    def _drift(self) -> Iterable[Metric]:
        drift = self._store.latest_drift()
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
