"""One piece of work, in a process of its own; prints what it cost as JSON.

    python work.py grow PILOT ROWS       writes snapshots of about so many rows
    python work.py floor FOLDER          pandas and the trained pipeline, into one Parquet file
    python work.py score FOLDER [PID…]   groundwork's scoring, in process or on Dask; these are the cluster's processes

The pilot and where it writes are told by its own variables. FOLDER takes what the floor writes, for the others to be
compared with. Everything is warm: each has scored the last day before it is measured on all days before.
"""

import hashlib
import importlib.metadata
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from groundwork.core.environment import prepare
from groundwork.core.settings import Settings
from groundwork.core.windows import Window, instant, local_time, window_of
from groundwork.data.snapshots import Snapshots
from groundwork.documents.pilot import Pilot
from groundwork.models.registry.registry import CHAMPION, Registry
from groundwork.models.scoring import score
from groundwork.models.serving.predictor import arrays
from groundwork.store.batches import LogPart
from groundwork.store.database import Store
from numpy.typing import NDArray
from use_case import decision

SAME = 1e-5  # between two computations of one score
TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    pilot = Pilot.here()
    prepare(pilot.settings)
    what, folder = sys.argv[1], Path(sys.argv[2])
    snapshots = Snapshots(pilot.snapshots, pilot.contract.dataset)
    if what == "grow":
        print(grow(pilot, Pilot(Settings(home=folder, data=folder / "data")), int(sys.argv[3])))
        return
    newest = snapshots.newest()
    assert newest is not None
    last_day = Window(newest.replace(hour=0, minute=0, second=0), newest + timedelta(days=1))
    measured = Window(datetime(2013, 1, 1), last_day.start)
    if what == "floor":
        said = costing(lambda: floor(pilot, folder, measured), lambda: floor(pilot, folder, last_day), [])
    else:
        with Store(pilot.settings.store) as store:
            pids = [int(pid) for pid in sys.argv[3:]]
            all_workers_there(pilot, len(pids) - 1)
            whole = score.PIECE_ROWS

            def warm_up() -> None:
                score.PIECE_ROWS = 1  # a piece for each hour, so that every worker gets some
                score.score_window(pilot, store, last_day)
                score.PIECE_ROWS = whole

            said = costing(lambda: score.score_window(pilot, store, measured).rows, warm_up, pids)
            said["digest"] = compared(store, measured, folder)
    names = ("mlflow", "deltalake", "pandas", "scikit-learn", "onnxruntime", "distributed")
    said["versions"] = {name: importlib.metadata.version(name) for name in names}
    print(json.dumps(said))


def grow(grown_pilot: Pilot, pilot: Pilot, rows: int) -> int:
    """The pilot's rows, some of them or each several times with other keys, month by month as an ingest writes them."""
    dataset = pilot.contract.dataset
    there = Snapshots(pilot.snapshots, dataset).read()
    copies = -(-rows // there.num_rows)
    target = Snapshots(grown_pilot.snapshots, dataset)
    key, at = dataset.key.name, dataset.event_time.name
    share = f"hash({key}, copy) % {copies * there.num_rows} < {rows}"
    with duckdb.connect() as engine:
        engine.register("there", there)
        [(first, last)] = engine.execute(f"select min({at}), max({at}) from there").fetchall()
        month, last = window_of(local_time(first, dataset.zone), "month"), local_time(last, dataset.zone)
        while month.start <= last:
            start, end = (instant(border, dataset.zone) for border in month)
            within = f"{at} >= '{start}' and {at} < '{end}'"
            grown = engine.execute(
                f"select there.* replace ({key} || '-' || copy as {key}) from range({copies}) copies (copy), there"
                f" where {within} and {share} order by copy, {at}"
            ).to_arrow_table()
            target.replace(grown.cast(there.schema), *month)
            month = window_of(month.end, "month")
    return copies


def floor(pilot: Pilot, folder: Path, window: Window) -> int:
    """What one writes without any of this: all rows in a frame, the pipeline's answers, a Parquet file."""
    dataset = pilot.contract.dataset
    rows = Snapshots(pilot.snapshots, dataset).read(*window)
    model = mlflow.sklearn.load_model(f"models:/{Registry(pilot).name}@{CHAMPION}")
    features = {column.name: rows[column.name] for column in dataset.features}
    scores = model.predict_proba(pd.DataFrame(arrays(features, dataset.features)))[:, 1]
    decided = decision.decide(scores, pilot.charter.value.parameters)
    answers = {"key": rows[dataset.key.name], "score": pa.array(scores), "decision": pa.array(decided)}
    pq.write_table(pa.table(answers), folder / "floor.parquet")
    return int(rows.num_rows)


def all_workers_there(pilot: Pilot, count: int) -> None:
    if pilot.settings.dask_scheduler:
        from distributed import Client

        with Client(pilot.settings.dask_scheduler, set_as_default=False) as client:
            client.wait_for_workers(count, timeout=120)


def costing(work: Callable[[], int], warm_up: Callable[[], object], pids: list[int]) -> dict:
    """Rows, seconds, CPU seconds of this process and these, and the largest memory that one of them had."""
    warm_up()
    everybody = [os.getpid(), *pids]
    before, began = sum(map(_cpu_seconds, everybody)), time.perf_counter()
    rows = work()
    seconds, cpu = time.perf_counter() - began, sum(map(_cpu_seconds, everybody)) - before
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    peak = max([own, *(_peak_mb(pid) for pid in pids)])
    return {"rows": rows, "seconds": seconds, "cpu_seconds": cpu, "peak_mb": peak}


def compared(store: Store, window: Window, folder: Path) -> str:
    """A digest of every key, score and decision in the log, after they were compared with the floor's scores."""
    logged = store.predictions.read(LogPart(end=window.end)).read(("key", "score", "decision"))
    keys, scores, decisions = (np.array(column.tolist()) for column in logged.values())
    order = np.argsort(keys)
    keys, scores, decisions = keys[order], scores[order], decisions[order]
    said = pq.read_table(folder / "floor.parquet").sort_by("key")
    same_keys: bool = np.array_equal(keys, said["key"].to_numpy().astype(keys.dtype))
    if not same_keys or np.abs(scores - said["score"].to_numpy()).max() > SAME:
        sys.exit("the log does not hold what the trained pipeline predicts")
    return _digest(keys, scores, decisions)


def _digest(*columns: NDArray) -> str:
    digest = hashlib.sha256()
    for column in columns:
        digest.update(column.tobytes())
    return digest.hexdigest()


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _peak_mb(pid: int) -> float:
    [line] = [each for each in Path(f"/proc/{pid}/status").read_text().splitlines() if each.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
