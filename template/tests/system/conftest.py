"""Fixtures of the system tests: a few thousand rows of the pilot's own source, and a temporary pilot that reads them.

The rows come from GROUNDWORK_SOURCE_URL, or from data/operational.duckdb. If neither exists, as in CI, they come from
tests/use_case/sample.duckdb, a small copy that the team commits, or from the example's data if the pilot still has it.
All files are written to a temporary folder: no test touches the pilot's registry, store or reports.
"""

import atexit
import importlib.util
import io
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from groundwork.core.environment import QUIET
from groundwork.core.errors import SourceError
from groundwork.core.settings import Settings
from groundwork.documents.document import read_yaml, write_yaml

PROJECT = Path(__file__).parents[2]
COPY = PROJECT / "tests/use_case/sample.duckdb"
ROWS_PER_WINDOW, WINDOWS, DAYS_PER_WINDOW = 1500, 3, 7
SECRET = {
    "name": "proof_secret",
    "logicalType": "string",
    "classification": "confidential",
    "description": "Added by the tests: its values must stay in the snapshots.",
    "examples": ["x"],
}

# Before the libraries are imported, remove the pilot's settings. Only the source is kept, and it is only read.
_own_source = Settings(home=PROJECT).source
for _name in [name for name in os.environ if name.startswith(("GROUNDWORK_", "MLFLOW_", "PREFECT_", "OTEL_", "WEB_"))]:
    del os.environ[_name]
# On a few thousand rows, one thread is faster than several.
os.environ.update(QUIET, OMP_NUM_THREADS="1")

# At exit, DuckDB prints a long message about open connections; hide it.
atexit.register(lambda: os.dup2(os.open(os.devnull, os.O_WRONLY), 2))


@dataclass(frozen=True)
class Sample:
    """The newest rows of the source, as Arrow tables with the contract's columns."""

    rows: Any  # rows of the newest windows with known outcomes
    undecided: Any  # the newest rows without a known outcome


@pytest.fixture(scope="session")
def own(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The pilot in this folder, with the source that the tests read."""
    from groundwork.documents.pilot import Pilot

    url = _own_source
    if url.startswith("duckdb://") and not Path(url.removeprefix("duckdb://").partition("?")[0]).is_file():
        if COPY.is_file():
            url = f"duckdb://{COPY}"
        elif importlib.util.find_spec("use_case.seed"):
            from use_case import seed

            database = tmp_path_factory.mktemp("example") / "operational.duckdb"
            seed.release(database, WINDOWS)
            url = f"duckdb://{database}"
    return Pilot(Settings(home=PROJECT, source_url=url))


@pytest.fixture(scope="session")
def sample(own: Any) -> Sample:
    """A few thousand rows of the pilot's own source."""
    try:
        return _read(own)
    except SourceError as error:
        pytest.fail(
            f"the tests cannot read the pilot's source: {error}\nSet GROUNDWORK_SOURCE_URL to a source that can be "
            f"read from here, or commit a small copy of its tables as {COPY.relative_to(PROJECT)}.",
            pytrace=False,
        )


def _read(own: Any) -> Sample:
    import ibis
    import pyarrow as pa

    from groundwork.core.windows import Window, window_of
    from groundwork.data.source import BEGINNING, END, connected, expression, local_times

    dataset = own.contract.dataset
    at, outcome, key = (each.name for each in (dataset.event_time, dataset.outcome, dataset.key))
    with connected(own) as backend:
        rows = expression(backend, dataset, Window(BEGINNING, END))
        by_day = rows.group_by(day=local_times(rows, dataset).truncate("D"))
        days = by_day.aggregate(known=lambda day: day[outcome].count())
        found = days.mutate(day=days.day.cast("timestamp")).to_pyarrow().to_pylist()
        known = {each["day"]: each["known"] for each in found if each["day"] and each["known"]}
        windows: dict[Window, list] = {}
        for day in sorted(known):
            windows.setdefault(window_of(day, own.charter.monitoring.window), []).append(day)
        if len(windows) < 2:
            raise SourceError(
                f"{own.settings.source} has known outcomes in {len(windows)} windows of one "
                f"{own.charter.monitoring.window} (monitoring.window in charter.yaml); training requires two"
            )
        taken = []
        for newest in _periods([windows[window] for window in sorted(windows)], known):
            days_rows = expression(backend, dataset, Window(newest[0], newest[-1] + timedelta(days=1)))
            its_day = local_times(days_rows, dataset).truncate("D")
            place = ibis.row_number().over(group_by=its_day, order_by=days_rows[key])
            numbered = days_rows.mutate(proof_place=place)
            first = numbered.filter(numbered.proof_place < ROWS_PER_WINDOW // min(len(newest), DAYS_PER_WINDOW))
            taken.append(first.drop("proof_place").to_pyarrow())
        undecided = rows.filter(rows[outcome].isnull()).order_by(ibis.desc(at)).limit(ROWS_PER_WINDOW).to_pyarrow()
    return Sample(pa.concat_tables(taken), undecided)


def _periods(windows: list[list[Any]], known: dict[Any, int]) -> list[list[Any]]:
    """Return the days to read: the last days of the newest windows, then earlier windows while these have few rows."""
    periods = [days[-DAYS_PER_WINDOW:] for days in windows[-WINDOWS:]]
    earlier: list[Any] = []
    for days in reversed(windows[:-WINDOWS]):
        if sum(known[day] for period in (*periods, earlier) for day in period) >= WINDOWS * ROWS_PER_WINDOW:
            break
        earlier = [*days, *earlier]
    return [earlier, *periods] if earlier else periods


@pytest.fixture(scope="session")
def train_in_service() -> Callable[[Any], None]:
    """Trains a version of a pilot and puts it in service; fails if the gate refuses it."""
    from groundwork.models.registry.promotion import promote, reconcile
    from groundwork.models.registry.registry import Registry
    from groundwork.pipeline import by_hand
    from groundwork.store.database import Store

    def train(pilot: Any) -> None:
        trained = by_hand.train(pilot)
        if trained.in_service:
            return
        if any(check.passed is not None and not check.passed for check in trained.verdict.checks):
            pytest.fail(
                f"the gate refuses the model trained on {trained.rows:,} of the newest rows, though its limits are "
                f"lowered: {'; '.join(trained.verdict.reasons)}",
                pytrace=False,
            )
        with Store(pilot.settings.store) as store:  # a few thousand rows may be too few for a confidence bound
            registry = Registry(pilot)
            version = registry.version(trained.version)
            assert version is not None
            promote(store, registry, version, reconcile(store, registry), by="proof", why="no bound on so few rows")

    return train


@pytest.fixture(scope="module")  # after the module's tests, the use case reads its own source again
def loop(own: Any, sample: Sample, train_in_service: Callable[[Any], None]) -> Iterator[Any]:
    """The pilot's documents in a temporary folder, on the sample: ingested, trained and promoted.

    The fixture adds a row without a key and a confidential column. It lowers the gate's limits and removes the rules on
    whole windows, because a few thousand rows are not a whole window.
    """
    import duckdb
    import pyarrow as pa

    from groundwork.core.environment import prepare
    from groundwork.documents.pilot import Pilot
    from groundwork.pipeline import by_hand
    from groundwork.service.model_source import OtherRegistry
    from use_case import model, source

    if isinstance(address := model.build(), str):
        pytest.skip(f"build() in src/use_case/model.py returns the address {address}: the tests train a model")
    dataset = own.contract.dataset
    with tempfile.TemporaryDirectory(prefix="proof-") as folder, pytest.MonkeyPatch.context() as patch:
        home = Path(folder)
        (home / "data").mkdir()
        shutil.copy(PROJECT / "OWNERS", home)
        _write(home, charter=_lenient(own), contract=_without_window_rules(own))
        secret = pa.array([f"Amelia {place}" for place in range(len(sample.rows))])
        rows = sample.rows.append_column(SECRET["name"], secret)
        with duckdb.connect(str(home / "data/operational.duckdb")) as engine:
            engine.register("arrow", rows)
            engine.execute("create table rows as from arrow")
            engine.execute(f"insert into rows select * replace (null as {dataset.key.name}) from rows limit 1")
        at = dataset.event_time.name
        patch.setattr(
            source,
            "rows",
            lambda backend, start, end: backend.table("rows").filter(lambda t: (t[at] >= start) & (t[at] < end)),
        )
        # Read the registry in this process: the service's child process would take seconds to import MLflow.
        patch.setattr(OtherRegistry, "look_up", lambda _, *version: _read_registry(*version))
        patch.setenv("GROUNDWORK_HOME", folder)
        pilot = Pilot.here()
        prepare(pilot.settings)
        by_hand.ingest(pilot)
        train_in_service(pilot)
        yield pilot


def _read_registry(number: str, sha256: str) -> str:
    """Return the output of `python -m groundwork.models.registry.registry`."""
    from groundwork.core.errors import BundleError
    from groundwork.models.registry import registry

    with redirect_stdout(io.StringIO()) as said:
        if registry.main(number, sha256) != 0:
            raise BundleError("there is no champion")
    return said.getvalue()


def _lenient(own: Any) -> dict[str, Any]:
    """Return the charter, with a gate that a model trained on a few thousand rows passes."""
    charter = read_yaml((PROJECT / "charter.yaml").read_text(encoding="utf-8"))
    line = {"maximum": 1e12} if own.charter.gate.lower_is_better else {"minimum": 0}
    gains = dict.fromkeys(("minGainOverRule", "minGainOverChampion"), -1e12)
    size = {"minRows": 1, "maxLatencyMs": 1e6, "maxSizeMb": 1e6}
    charter["gate"] = {"metric": own.charter.gate.metric, "maxMetricLoss": 1} | line | gains | size
    charter["monitoring"]["minRows"] = 1
    return charter


def _without_window_rules(own: Any) -> dict[str, Any]:
    """Return the contract with its row rules but without window rules and slices, and with the confidential column.

    The sample is too small to judge slices.
    """
    contract = read_yaml((PROJECT / "contract.yaml").read_text(encoding="utf-8"))
    dataset, described = own.contract.dataset, contract["schema"][0]
    on_windows = [id(rule.quality) for rule in dataset.window_rules]
    for part, written in ((dataset, described), *zip(dataset.columns, described["properties"], strict=True)):
        rules = zip(part.quality, written.pop("quality", []), strict=True)
        written["quality"] = [rule for parsed, rule in rules if id(parsed) not in on_windows]
        written["tags"] = [tag for tag in written.pop("tags", []) if tag != "slice"]
    described["properties"].append(SECRET)
    described["customProperties"] = [{"property": "maxQuarantinedShare", "value": 0.5}]
    contract.pop("slaProperties", None)
    return contract


def _write(home: Path, **documents: dict[str, Any]) -> None:
    """Write the documents as YAML files of the pilot in `home`."""
    for name, content in documents.items():
        (home / f"{name}.yaml").write_text(write_yaml(content), encoding="utf-8")
