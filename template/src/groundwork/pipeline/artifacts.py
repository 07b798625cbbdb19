"""Prefect artifacts of a finished run: tables of results, and links to MLflow and the drift report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from groundwork.documents.pilot import Pilot
from groundwork.store.findings import FAILED, PASSED, UNKNOWN

if TYPE_CHECKING:
    from groundwork.data.ingest import Ingested
    from groundwork.models.scoring.score import Scored
    from groundwork.models.training.train import Trained
    from groundwork.monitoring.retraining import Retrained
    from groundwork.store.drifts import Drift
    from groundwork.store.proofs import Proof


def of_ingest(done: list[Ingested]) -> None:
    rows: list[dict[str, Any]] = [
        {
            "window": str(each.window),
            "rows in": each.rows_in,
            "quarantined": each.rows_quarantined,
            "too far ahead": each.rows_ahead,
            "snapshot version": each.version,
        }
        for each in done
    ]
    create_table_artifact(rows, key="ingest", description="Rows read and rows quarantined, per window.")


ANSWERS = {True: "yes", False: "no", None: "unknown"}


def of_train(trained: Trained) -> None:
    checks = [
        {"check": each.name, "required": each.wanted, "found": each.seen, "passed": ANSWERS[each.passed]}
        for each in trained.verdict.checks
    ]
    create_table_artifact(
        checks, key="gate", description=f"Gate checks of version {trained.version}: {trained.standing}."
    )
    pilot = Pilot.here()
    name = pilot.name
    if pilot.settings.tracking_uri.startswith("http"):
        link = f"{pilot.settings.tracking_uri.rstrip('/')}/#/models/{name}/versions/{trained.version}"
        create_link_artifact(
            link, f"{name} version {trained.version}", key="model", description="The version in MLflow."
        )
    else:
        create_markdown_artifact(
            f"Version {trained.version} of `{name}`. To see it in MLflow: `uv run mlflow ui --backend-store-uri"
            f" {pilot.settings.tracking_uri}`",
            key="model",
        )


def of_score(scored: Scored) -> None:
    rows = [{"decision": decided, "rows": count} for decided, count in scored.decisions.items()]
    description = f"{scored.rows:,} rows of {scored.window}, scored by version {scored.model_version}."
    create_table_artifact(rows, key="score", description=description)


def of_monitor(drift: Drift) -> None:
    rows = [
        {"column": name, "distance": round(distance, 4), "drifted": "yes" if name in drift.drifted else "no"}
        for name, distance in sorted(drift.distances.items(), key=lambda item: -item[1])
    ]
    create_table_artifact(rows, key="drift", description=f"{drift.status}: {drift.reason}.")
    if drift.report:
        page = Pilot.here().settings.reports / drift.report
        create_link_artifact(page.as_uri(), str(page), key="drift-report", description="The drift report.")


def of_retrain(retrained: Retrained) -> None:
    lines = retrained.reasons or ["No new model is needed."]
    text = "\n".join(f"- {line}" for line in lines)
    create_markdown_artifact(text, key="retrain", description="Why a new model was trained, or why not.")


def of_prove(proofs: list[Proof]) -> None:
    states = {PASSED: "passed", FAILED: "failed", UNKNOWN: "unknown"}
    rows = [{"check": each.check_id, "state": states[each.exit_code], "found": each.seen} for each in proofs]
    create_table_artifact(rows, key="prove", description="The newest proof of each scorecard check.")
