"""Runs in the pilot's own environment: what the bare model costs, without any server around it.

    python floor.py CASE BUNDLE SECONDS SIZE…

Prints the microseconds of CPU per row for batches of each size, as JSON.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from groundwork.documents.pilot import Pilot
from groundwork.models.serving.predictor import Predictor, arrays


def main(case: Path, last_good: Path, seconds: float, sizes: list[int]) -> None:
    records: list[dict[str, Any]] = json.loads(case.read_text(encoding="utf-8"))["records"]
    entry = json.loads(last_good.read_text(encoding="utf-8"))
    features = Pilot.here().contract.dataset.features
    sha256 = entry["bundle_sha256"]
    folder = last_good.parent / entry["to_version"] / sha256[:16]
    predictor = Predictor(folder, sha256, [feature.name for feature in features])
    per_row = {}
    for size in sizes:
        batch = [records[i % len(records)] for i in range(size)]
        columns = arrays({each.name: [row[each.name] for row in batch] for each in features}, features)
        for _ in range(20):
            predictor.scores(columns)
        calls, began, until = 0, time.process_time(), time.monotonic() + seconds
        while time.monotonic() < until:
            predictor.scores(columns)
            calls += 1
        per_row[size] = (time.process_time() - began) * 1e6 / calls / size
    print(json.dumps(per_row))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]), [int(size) for size in sys.argv[4:]])
