"""The work that `run.py` measures, in a pilot's folder, by the code on PYTHONPATH: `work.py WORK ROWS BATCH`."""

import json
import random
import resource
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from groundwork.core.environment import prepare
from groundwork.documents.pilot import Pilot
from groundwork.models.registry.registry import Registry
from groundwork.monitoring.drift import DriftUnknown
from groundwork.monitoring.monitor import monitor
from groundwork.readiness.criteria import gain_in_service
from groundwork.service.answering import Answerer
from groundwork.service.request_schema import RequestReader
from groundwork.store.database import Store

IDS = Path("data/ids.txt")
START, DAYS = datetime(2013, 2, 1), 28


def fill(pilot: Pilot, rows: int, batch: int) -> dict[str, Any]:
    """Answer and log so many records of one month, as the service does, in requests of so many."""
    registry = Registry(pilot)
    version = registry.required_champion()
    champion = SimpleNamespace(version=version.number, predictor=registry.predictor(version))
    loader: Any = SimpleNamespace(champion=champion, challenger=None, no_model=False)
    metrics: Any = SimpleNamespace(count_answered=lambda *_: None)
    reader, chance = RequestReader(pilot.contract, 100_000), random.Random(0)
    example = reader.example["records"][0]
    ids: list[str] = []
    cpu = 0.0
    with Store(pilot.settings.store) as store:
        answerer = Answerer(pilot, store, loader, metrics)
        for begin in range(0, rows, batch):
            records = [_record(example, number, rows, chance) for number in range(begin, min(begin + batch, rows))]
            body = json.dumps({"records": records}).encode()
            seconds, [answer] = _timed(lambda body=body: answerer.answer_batch([reader.read(body)]))
            cpu += seconds
            ids += [each["prediction_id"] for each in json.loads(answer)["predictions"]]
        store.ask("select 1")
    IDS.write_text("\n".join(ids), encoding="utf-8")
    size = sum(file.stat().st_size for file in Path("data").glob("groundwork.db"))
    return {"bytes": size / rows, "answer_us": cpu / rows * 1e6}


def _record(example: dict[str, Any], number: int, of: int, chance: random.Random) -> dict[str, Any]:
    at = START + timedelta(seconds=DAYS * 86_400 * number // of)
    carrier, origin = chance.choice(("B6", "UA", "AA", "DL")), chance.choice(("JFK", "EWR", "LGA"))
    return example | {
        "flight_id": f"{at:%Y%m%d}-{carrier}-{number}-{origin}",
        "scheduled_departure": at.isoformat(),
        "carrier": carrier,
        "origin": origin,
        "departure_minute": at.hour * 60 + at.minute,
    }


def watch(pilot: Pilot, rows: int, batch: int) -> dict[str, Any]:
    """Monitor the month; the costs include the imports."""
    try:
        monitor(pilot, START, START + timedelta(days=DAYS))
    except DriftUnknown as error:
        sys.exit(str(error))
    return {"monitor_s": time.process_time(), "monitor_mb": _peak_mb()}


def learn(pilot: Pilot, rows: int, batch: int) -> dict[str, Any]:
    """Log outcomes, 1,000 at a time and in no order, then compute the live value."""
    ids = IDS.read_text(encoding="utf-8").split()
    random.Random(1).shuffle(ids)
    told = [(identifier, number % 3 == 0) for number, identifier in enumerate(ids[:100_000])]
    now = datetime.now(UTC)
    with Store(pilot.settings.store) as store:
        logged, _ = _timed(lambda: [store.outcomes.log(told[at : at + 1000]) for at in range(0, len(told), 1000)])
        value, gain = _timed(lambda: gain_in_service(pilot, store, now - timedelta(2), now + timedelta(1)))
    assert gain.samples == len(told), gain
    return {"outcomes_s": logged, "value_s": value, "value_mb": _peak_mb()}


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds, and what the work returned."""
    began = time.process_time()
    found = work()
    return time.process_time() - began, found


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    name, *numbers = sys.argv[1:]
    here = Pilot.here()
    prepare(here.settings)
    print(json.dumps({"fill": fill, "monitor": watch, "outcomes": learn}[name](here, *map(int, numbers))))
