"""Runs in the pilot's own environment: takes the champion and some rows out of it, and what the champion says of them.

    python prepare.py FOLDER ROWS

Writes FOLDER/model, the champion as MLflow keeps it, and FOLDER/case.json.
"""

import json
import sys
from pathlib import Path

import mlflow
import pandas as pd
import yaml
from groundwork.core.environment import prepare
from groundwork.data.snapshots import Snapshots
from groundwork.documents.pilot import Pilot
from groundwork.models.registry.registry import CHAMPION, Registry


def main(folder: Path, count: int) -> None:
    pilot = Pilot.here()
    prepare(pilot.settings)
    registry = Registry(pilot)
    dataset = pilot.contract.dataset
    table = Snapshots(pilot.snapshots, dataset).read()
    # The newest rows in which nothing is missing: how to write a missing value is a matter of its own in each format.
    requested = [column.name for column in dataset.requested]
    table = table.select(requested).drop_null()
    rows = table.slice(max(0, len(table) - count)).to_pylist()
    if len(rows) < count:
        sys.exit(f"the pilot holds {len(rows)} complete rows, {count} are needed")

    source = mlflow.artifacts.download_artifacts(f"models:/{registry.name}@{CHAMPION}", dst_path=str(folder / "model"))
    description = Path(source) / "MLmodel"
    said = yaml.safe_load(description.read_text(encoding="utf-8"))
    # All are to answer with the probability, which is what decisions are made from, not with a class.
    said["flavors"]["python_function"]["predict_fn"] = "predict_proba"
    description.write_text(yaml.safe_dump(said), encoding="utf-8")

    model = mlflow.pyfunc.load_model(source)
    types = {column.name: column.type.to_numpy().name for column in model.metadata.get_input_schema()}
    frame = pd.DataFrame(rows)[list(types)].astype({name: t for name, t in types.items() if t.startswith("float")})
    scores = model.predict(frame)[:, 1]
    case = {
        "model": source,
        "records": [{name: _plain(value) for name, value in row.items()} for row in rows],
        "features": types,
        "scores": [float(score) for score in scores],
    }
    (folder / "case.json").write_text(json.dumps(case), encoding="utf-8")


def _plain(value: object) -> object:
    return value.isoformat() if hasattr(value, "isoformat") else value


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
