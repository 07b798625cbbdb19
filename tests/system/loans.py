"""A pilot that grants loans, where the money of a decision depends on the amount; its decision.py is the guide's."""

import types
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import ibis
import pytest
import yaml
from groundwork.documents.pilot import Pilot
from groundwork.pipeline import by_hand
from pilots import CHARTER, OWNERS, ROOT, documents, enter
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from use_case import decision, model, source

WORTH = {"interestShare": 0.06, "lossShare": 0.4, "costPerLoan": 120.0}
GUIDE = ROOT / "docs/how-to/bring-your-own.md"
COLUMNS: list[dict[str, Any]] = [
    {"name": "loan_id", "logicalType": "string", "primaryKey": True, "examples": ["L-1"]},
    {"name": "asked_at", "logicalType": "timestamp", "tags": ["event_time"], "examples": ["2026-01-05T09:30:00"]},
    {"name": "income", "logicalType": "number", "tags": ["feature"], "required": True, "examples": [31000.5]},
    {"name": "years", "logicalType": "integer", "tags": ["feature"], "examples": [3]},
    {"name": "amount", "logicalType": "integer", "required": True, "examples": [9000]},  # no feature
    {"name": "purpose", "logicalType": "string", "examples": ["car"]},
    {"name": "secured", "logicalType": "boolean", "required": True, "examples": [False]},
    {"name": "name", "logicalType": "string", "classification": "pii", "examples": ["Ada"]},
    {"name": "lost", "logicalType": "boolean", "tags": ["outcome"], "examples": [False]},
]
LOANS = """
    create table loans as
    select 'L-' || i as loan_id,
        timestamp '2026-01-01' + to_hours(i % 1416) as asked_at,  -- 59 days
        20000.5::double + (i * 7919) % 40000 as income,
        case when i % 5 = 0 then null else i % 20 end as years,
        500 + (i * 31) % 30000 as amount,
        case when i % 7 = 0 then null when i % 2 = 0 then 'car' else '' end as purpose,
        i % 3 = 0 as secured,
        'Ada ' || i as name,
        (i * 7919) % 40000 + (hash(i) % 30000)::bigint < 24000 as lost
    from range(1, 4000) as numbers(i)
"""


def decision_of_the_guide() -> types.SimpleNamespace:
    """The functions of the page's example, as a module `decision.py` would hold them."""
    section = GUIDE.read_text(encoding="utf-8").partition("### Money that differs by row")[2]
    written: dict[str, Any] = {}
    exec(section.partition("```python\n")[2].partition("```")[0], written)
    return types.SimpleNamespace(**written)


def build() -> Pipeline:
    return make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression())


def rows(backend: ibis.BaseBackend, start: datetime, end: datetime) -> ibis.Table:
    loans = backend.table("loans")
    return loans.filter((loans.asked_at >= start) & (loans.asked_at < end))


@contextmanager
def granting(home: Path) -> Iterator[Pilot]:
    """The pilot in this folder, with the code of its use case."""
    guide = decision_of_the_guide()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "rows", rows)
        patch.setattr(model, "build", build)
        for name in ("decide", "without_model", "value"):
            patch.setattr(decision, name, getattr(guide, name))
        yield enter(home, patch)


def write_loans(home: Path) -> None:
    """Write the documents and the operational system."""
    (home / "data").mkdir(parents=True)
    charter = yaml.safe_load((documents() / "charter.yaml").read_text(encoding="utf-8")) | CHARTER
    charter["value"] = {"currency": "EUR", "unit": "loan", "parameters": WORTH}
    contract = yaml.safe_load((documents() / "contract.yaml").read_text(encoding="utf-8"))
    described = [{"description": each["name"]} | each for each in COLUMNS]
    contract["schema"] = [{"name": "loans", "description": "A loan.", "properties": described}]
    contract.pop("slaProperties", None)
    for name, content in (("charter", charter), ("contract", contract)):
        (home / f"{name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    (home / "OWNERS").write_text(OWNERS.replace("flights", "loans"), encoding="utf-8")
    with duckdb.connect(str(home / "data/operational.duckdb")) as engine:
        engine.execute(LOANS)


def first_training(home: Path) -> Any:
    """Make the pilot in a new folder, and return the result of its training."""
    write_loans(home)
    with granting(home) as pilot:
        by_hand.ingest(pilot)
        return by_hand.train(pilot)


def money(decided: str, lost: bool, amount: int) -> float:
    """The money of one decision, computed by itself."""
    if decided == "refuse":
        return 0.0
    return (-0.4 if lost else 0.06) * amount - 120


def granted(score: float, amount: int) -> str:
    """The decision on one loan, computed by itself."""
    return "grant" if (1 - score) * amount * 0.06 - score * amount * 0.4 >= 120 else "refuse"
