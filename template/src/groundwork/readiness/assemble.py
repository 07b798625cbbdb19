"""Builds the scorecard."""

from datetime import date

from groundwork.documents import sealing
from groundwork.documents.decision_record import DecisionRecord
from groundwork.documents.pilot import Pilot
from groundwork.readiness import ml_test_score, organisation
from groundwork.readiness.criteria import MeasurementContext, scale_rows, stop_rows
from groundwork.readiness.scorecard import Scorecard, waive
from groundwork.readiness.statements import Statements
from groundwork.store.database import Store


def assess(pilot: Pilot, store: Store, today: date) -> Scorecard:
    """Return the pilot's scorecard on that day."""
    charter = pilot.charter
    # Reads every commit of the charter from git, so call it once.
    broken_seals = sealing.findings(pilot.settings.home, charter)
    statements = Statements.of(pilot.settings.home, pilot.owners)
    others = [
        *organisation.rows(pilot, store, broken_seals, sealing.cannot_tell(pilot.settings.home, charter), today),
        *ml_test_score.rows(pilot, store, statements, today),
    ]
    context = MeasurementContext(
        pilot=pilot,
        store=store,
        statements=statements,
        states={row.id: row.state for row in others},
        today=today,
    )
    criteria = [
        *scale_rows(charter.ready_to_scale.criteria, context),
        *stop_rows(charter.stop_criteria, context),
    ]
    day0 = charter.plan.day(0)
    return Scorecard(
        pilot=charter.metadata.title,
        on=today,
        day=(today - day0).days if day0 else None,
        rows=waive([*criteria, *others], statements.waivers_on(today)),
        not_in_force=tuple(organisation.not_in_force(pilot, broken_seals)),
        overdue=DecisionRecord.of(pilot.settings.home).overdue(charter, today),
    )
