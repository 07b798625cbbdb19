"""What the service tells Prometheus: its requests, the model it serves, and what the pipeline and monitor recorded."""

from collections.abc import Iterable

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
from groundwork.store import Store

DRIFT_STATES = ("ok", "drift", "unknown")

disable_created_metrics()  # type: ignore[no-untyped-call] # one more series per series, for nothing


class Metrics:
    """The metrics of one service process."""

    def __init__(self, owners: Owners, store: Store) -> None:
        self.registry = CollectorRegistry()
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
            buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000),
            registry=self.registry,
        )
        self.predictions = Counter(
            "groundwork_predictions",
            "Predictions answered and logged.",
            ["model_version", "decision"],
            registry=self.registry,
        )
        self.model = Gauge(
            "groundwork_model_info",
            "The model version that serves; 1 for the present one.",
            ["model", "version", "format"],
            registry=self.registry,
        )


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
