"""A live pilot of each release, with data, champion, log, outcomes, seal and erasure, is updated, and goes back.

First by Copier to the present state, then by `groundwork update` to a later release.
"""

import json
import os
import shutil
import subprocess
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support import PYTHON, commit, copy, execute, release, releases, serving, update

NOW, NEXT = "v1000.0.0", "v1001.0.0"
pytestmark = pytest.mark.soak

# Run in the pilot's environment, by the code that it has: a reader for each way in which a release kept its log.
LOOK = """
import json
from datetime import datetime
from groundwork.data.snapshots import Snapshots
from groundwork.documents.pilot import Pilot
from groundwork.store.database import Store
pilot = Pilot.here()
dataset = pilot.contract.dataset
rows = Snapshots(pilot.snapshots, dataset).read().to_pylist()
newest = sorted(rows, key=lambda row: row[dataset.event_time.name])[-300:]
with Store(pilot.settings.store) as store:
    logged = store.predictions.between(datetime.min, datetime.max)
    if hasattr(store.outcomes, "between"):
        outcomes = store.outcomes.between(datetime.min, datetime.max)
    else:  # since the log holds batches
        from groundwork.store.batches import LogPart
        found = store.predictions.read(LogPart())
        known = store.outcomes.of(found, LogPart())
        outcomes = dict(zip(found.take(known.rows).column("id").tolist(), known.outcomes))
print(json.dumps({
    "flights": {row["flight_id"]: str(row) for row in rows},
    "records": [{each.name: row[each.name] for each in dataset.requested} for row in newest],
    "predictions": {each.prediction_id: each._asdict() for each in logged},
    "outcomes": outcomes,
}, default=lambda value: value.isoformat()))
"""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a pilot was seen to hold and to do."""

    champion: dict[str, Any]
    answers: list[tuple[float, str, str]]  # of the service, to the same rows each time: score, decision, version
    flights: dict[str, str]
    predictions: dict[str, dict[str, Any]]
    outcomes: dict[str, float]
    check: int  # how it ended
    scorecard: dict[str, str]


def ended(pilot: Path, *verb: str) -> "subprocess.CompletedProcess[str]":
    """A command that may fail, at its end. Copier is the one beside the Python that runs the tests."""
    paths = os.environ | {"PATH": f"{Path(PYTHON).parent}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run([pilot / ".venv/bin/groundwork", *verb], cwd=pilot, env=paths, text=True, capture_output=True)


def groundwork(pilot: Path, *verb: str) -> str:
    return execute(pilot, str(pilot / ".venv/bin/groundwork"), *verb)


def look(pilot: Path) -> dict[str, Any]:
    shown = subprocess.run([pilot / ".venv/bin/python", "-c", LOOK], cwd=pilot, text=True, capture_output=True)
    assert shown.returncode == 0, shown.stderr
    found: dict[str, Any] = json.loads(shown.stdout)
    return found


def post(url: str, content: object) -> dict[str, Any]:
    request = urllib.request.Request(url, json.dumps(content).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def see(pilot: Path, records: list[dict[str, Any]]) -> Seen:
    """Look at the pilot, ask its service, and ingest the newest month once more."""
    groundwork(pilot, "ingest", "--since", "2013-03-01", "--until", "2013-04-01")
    found = look(pilot)
    shutil.rmtree(pilot / "data/champion")  # so that the service fetches and checks it, as a new one does
    with serving(pilot, pilot / "data/seen.log") as address:
        answered = post(f"{address}/predict", {"records": records})["predictions"]
    card = json.loads(ended(pilot, "readiness", "--json").stdout)
    return Seen(
        champion=json.loads(groundwork(pilot, "status", "--json"))["champion"],
        answers=[(each["score"], each["decision"], each["model_version"]) for each in answered],
        flights=found["flights"],
        predictions=found["predictions"],
        outcomes=found["outcomes"],
        check=ended(pilot, "check").returncode,
        scorecard={row["id"]: row["state"] for row in card["rows"]},
    )


def next_month(pilot: Path, kept: Path) -> dict[str, Any]:
    """What becomes of the next month: retraining's verdict. The data is then as it was."""
    shutil.copytree(pilot / "data", kept, symlinks=True)
    groundwork(pilot, "release")
    done = ended(pilot, "retrain", "--json")
    shutil.rmtree(pilot / "data")
    shutil.move(kept, pilot / "data")
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)["trained"]
    assert found, done.stdout
    return found


@dataclass(frozen=True, kw_only=True)
class Life:
    """A pilot, and how it was before and after its update, and back again."""

    erased: str  # the flight that nothing may show
    before: Seen
    after: Seen  # of the update by Copier
    later: Seen  # of the update by the verb
    back: Seen
    verdict_before: dict[str, Any]  # of the next month's retraining
    verdict_after: dict[str, Any]
    conflicts: str
    preview: dict[str, Any]  # of the update by the verb
    tests: "subprocess.CompletedProcess[str]"


def a_life(number: int, version: str) -> Any:
    """A pilot of the release; of all but the newest it lives in the night, since each takes minutes."""
    marks = [pytest.mark.xdist_group(f"life-{version}"), *([pytest.mark.night] if number else [])]
    return pytest.param(version, marks=marks)


LIVES = [a_life(number, each["version"]) for number, each in enumerate(releases())]


@pytest.fixture(scope="module", params=LIVES)  # each in one process, which lives it once
def life(
    request: pytest.FixtureRequest,
    template: Path,
    late_flights: dict[str, Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Life:
    folder = tmp_path_factory.mktemp("life")
    pilot, source = folder / "late-flights", folder / "groundwork"
    execute(folder, "git", "clone", "--quiet", str(template), str(source))
    start(pilot, source, late_flights, f"v{request.param}")
    erased, records = live(pilot)
    before = see(pilot, records)
    verdict_before = next_month(pilot, folder / "kept")

    update(pilot, vcs_ref=NOW)
    conflicts = execute(pilot, "git", "ls-files", "--unmerged")
    execute(pilot, "uv", "sync", "--quiet")
    commit(pilot)
    groundwork(pilot, "migrate")
    after = see(pilot, records)
    verdict_after = next_month(pilot, folder / "kept")
    tests = subprocess.run(["uv", "run", "pytest", "-q"], cwd=pilot, text=True, capture_output=True)

    (source / "template/src/groundwork/added.py").write_text('"""New."""\n')
    release(source, NEXT)
    previewed = ended(pilot, "update", "--apply", "--json")
    assert previewed.returncode == 0, previewed.stderr
    preview = json.loads(previewed.stdout)
    execute(pilot, "git", "merge", "--quiet", "--ff-only", preview["branch"])
    execute(pilot, "uv", "sync", "--quiet")
    groundwork(pilot, "migrate")
    later = see(pilot, records)

    execute(pilot, "git", "-c", "commit.gpgsign=false", "revert", "--no-edit", "HEAD", "HEAD~1")
    execute(pilot, "uv", "sync", "--quiet", "--locked")
    for copied in (pilot / "data").glob("*.before-*"):  # what `migrate` copied gets its name back
        shutil.move(copied, copied.with_name(copied.name.partition(".before-")[0]))
    return Life(
        erased=erased,
        before=before,
        after=after,
        later=later,
        back=see(pilot, records),
        verdict_before=verdict_before,
        verdict_after=verdict_after,
        conflicts=conflicts,
        preview=preview,
        tests=tests,
    )


def start(pilot: Path, template: Path, answers: dict[str, Any], version: str) -> None:
    """Write the pilot as the release did, in an environment of its own, and seal its criteria."""
    copy(template, pilot, vcs_ref=version, **answers)
    execute(pilot, "uv", "sync", "--quiet")
    groundwork(pilot, "owners")
    groundwork(pilot, "charter", "lock", "--by", "ada")
    commit(pilot)


def live(pilot: Path) -> tuple[str, list[dict[str, Any]]]:
    """Three months of flights, a champion, answers of the service and of a batch, outcomes of both, an erasure."""
    fill = "import pathlib; from use_case import seed; seed.release(pathlib.Path('data/operational.duckdb'), 3)"
    execute(pilot, str(pilot / ".venv/bin/python"), "-c", fill)
    groundwork(pilot, "ingest")
    groundwork(pilot, "train")
    groundwork(pilot, "score", "--since", "2013-03-01", "--until", "2013-03-03")
    found = look(pilot)
    erased, records = found["records"][0], found["records"][1:]
    with serving(pilot, pilot / "data/live.log") as address:
        answered = post(f"{address}/predict", {"records": [erased, *records]})["predictions"]
        ids = [each["prediction_id"] for each in answered] + list(found["predictions"])[:600]
        told = [{"prediction_id": each, "outcome": number % 3 == 0} for number, each in enumerate(ids)]
        assert post(f"{address}/outcomes", {"outcomes": told})["received"] == len(told)
    groundwork(pilot, "erase", "--subject", erased["flight_id"])
    return erased["flight_id"], records


def kept(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """The names of what is gone, or other than it was."""
    return [name for name, value in before.items() if after.get(name) != value]


def test_the_pilot_lived(life: Life) -> None:
    """Else the other tests would compare nothing."""
    roles = {each["role"] for each in life.before.predictions.values()}
    assert {"champion", "batch"} <= roles
    assert len(life.before.outcomes) > 800
    assert len(life.before.flights) > 80_000
    assert {version for _, _, version in life.before.answers} == {"1"}
    assert life.verdict_before["version"] == "2"
    assert life.before.check == 0


def test_the_update_has_no_conflict(life: Life) -> None:
    assert life.conflicts == ""


def test_the_champion_is_the_same_and_trusted(life: Life) -> None:
    assert life.after.champion["number"] == life.before.champion["number"]
    assert life.after.champion["tags"]["bundle_sha256"] == life.before.champion["tags"]["bundle_sha256"]


def test_the_service_answers_the_same_rows_the_same(life: Life) -> None:
    assert life.after.answers == life.before.answers


def test_data_log_and_outcomes_are_kept(life: Life) -> None:
    assert kept(life.before.flights, life.after.flights) == []
    assert kept(life.before.predictions, life.after.predictions) == []
    assert kept(life.before.outcomes, life.after.outcomes) == []


def test_the_gate_judges_the_next_month_as_before(life: Life) -> None:
    """The same data, the same model: the same standing, the same figures, and the same checks with the same limits."""
    assert life.verdict_after["standing"] == life.verdict_before["standing"], life.verdict_after["verdict"]
    for rival in ("candidate", "rule", "champion"):
        assert life.verdict_after[rival] == life.verdict_before[rival]
    before, after = (
        {check["name"]: (check["wanted"], check["passed"]) for check in each["verdict"]["checks"]}
        for each in (life.verdict_before, life.verdict_after)
    )
    assert after == before


def test_what_was_erased_stays_erased(life: Life) -> None:
    """Also after the month that it was in was ingested once more."""
    assert life.erased not in life.after.flights
    assert not [each for each in life.after.predictions.values() if each["entity_key"] == life.erased]


def test_checks_end_as_before(life: Life) -> None:
    assert life.after.check == life.before.check
    worse = {
        name: state
        for name, state in life.before.scorecard.items()
        if state == "passed" and life.after.scorecard.get(name, state) != state
    }
    assert worse == {}


def test_the_pilots_own_tests_are_green(life: Life) -> None:
    assert life.tests.returncode == 0, life.tests.stdout[-4000:]


def test_the_verb_foresees_what_its_update_does(life: Life) -> None:
    """Nothing but a file that is new: no check fails, and the gate judges as before."""
    found = {change["path"]: change["kind"] for change in life.preview["changes"] if change["kind"] != "kept"}
    assert found == {"src/groundwork/added.py": "new"}
    foreseen = life.preview["behaviour"]
    assert (foreseen["check"], foreseen["gate_unknown"]) == ("passes", "")
    assert {(each["before"], each["after"]) for each in foreseen["verdicts"]} == {(True, True)}
    assert life.later.champion == life.after.champion
    assert life.later.answers == life.after.answers
    assert life.later.check == life.after.check
    assert kept(life.after.predictions, life.later.predictions) == []
    assert life.erased not in life.later.flights


def test_after_going_back_it_runs_as_before(life: Life) -> None:
    assert life.back.champion["number"] == life.before.champion["number"]
    assert kept(life.before.champion["tags"], life.back.champion["tags"]) == []  # a tag of the later release may stay
    assert life.back.answers == life.before.answers
    assert kept(life.before.predictions, life.back.predictions) == []
    assert kept(life.before.outcomes, life.back.outcomes) == []
    assert life.erased not in life.back.flights
    assert life.back.check == life.before.check
