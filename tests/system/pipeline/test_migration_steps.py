"""`groundwork migrate` tells all that it would do, does it step by step, and goes on where it was killed."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from commands import groundwork
from groundwork.documents.pilot import Pilot
from groundwork.models.registry.promotion import promote
from groundwork.models.registry.registry import Registry
from groundwork.models.serving import predictor
from groundwork.models.serving.bundles import BUNDLE, SIGNATURE
from groundwork.models.serving.chain import read_chain
from groundwork.models.serving.predictor import bundle_digest, read_bundle
from groundwork.models.serving.signing import sign, signer
from groundwork.pipeline import by_hand, migration_steps
from groundwork.pipeline.migration_steps import STEPS, Step
from groundwork.store import schema
from groundwork.store.database import Store
from registries import client_of, set_tag, take_back_a_revision
from serving import closed, served_here, serving
from stores import change, query, write_as_0_2_0

LINES = {
    "store": f"migrated the store from no schema version to schema version {schema.VERSION}",
    "registry": "upgraded the models' registry to the schema of MLflow",
    "chain": "signed the promotion log as it was: version 1 stays champion",
    "schedules": "forgot the schedule of audit, a flow that this code does not have",
}


def take_back_to_0_2_0(pilot: Pilot, flows: Iterable[str]) -> None:
    """The store, and the note of the last good champion, as release 0.2.0 writes them."""
    note = pilot.settings.champion_cache / "last-good.json"
    bundle = json.loads(note.read_text())["bundle_sha256"]
    write_as_0_2_0(pilot.settings.store, flows)
    note.write_text(json.dumps({"version": "1", "sha256": bundle}))


@pytest.fixture
def outdated(pilot_copy: Pilot) -> Pilot:
    """A pilot of which store, registry and schedules are older than the code, and which was copied."""
    take_back_to_0_2_0(pilot_copy, [*by_hand.WORK, "audit"])
    change(pilot_copy.settings.store, f"drop table {schema.VERSION_TABLE}")
    take_back_a_revision(pilot_copy.settings.data_folder / "mlflow.db")
    return pilot_copy


def contents(home: Path) -> dict[str, bytes]:
    return {str(file.relative_to(home)): file.read_bytes() for file in home.rglob("*") if file.is_file()}


def everything_done(pilot: Pilot) -> bool:
    with Store(pilot.settings.store) as store:
        flows = store.schedules.since().keys()
    return flows == by_hand.WORK.keys() and not any(step.pending(Pilot.here()) for step in STEPS)


def test_a_dry_run_tells_all_and_changes_nothing(outdated: Pilot) -> None:
    before = contents(outdated.settings.home)
    dry = groundwork("migrate", "--dry-run")
    assert dry.returncode == 0, dry.stderr
    for line in (
        f"migrate the store from no schema version to schema version {schema.VERSION}",
        f"copy the store to {outdated.settings.data_folder / 'groundwork.db'}.before-{schema.VERSION} first",
        "upgrade the models' registry to the schema of MLflow",
        "the pilot was moved or copied from",
        "promotion log, models and schedules are looked at when the store is migrated",
    ):
        assert line in dry.stdout
    assert "✓" not in dry.stdout
    assert contents(outdated.settings.home) == before
    assert json.loads(groundwork("migrate", "--dry-run", "--json").stdout)["steps"].keys() == {"store", "registry"}
    assert contents(outdated.settings.home) == before


def test_a_dry_run_makes_no_store(new_pilot: Pilot) -> None:
    assert "nothing to migrate" in groundwork("migrate", "--dry-run").stdout
    assert not (new_pilot.settings.data_folder / "groundwork.db").exists()


def test_each_step_is_done_once_and_the_champion_goes_on(outdated: Pilot) -> None:
    done = groundwork("migrate")
    assert done.returncode == 0, done.stderr
    for name, line in LINES.items():
        assert f"✓ {name:<8} {line}" in done.stdout
    for line in done.stdout.splitlines():
        if " before " in line and "copy of" in line:
            assert Path(line.rpartition(": ")[2]).is_file()
    assert everything_done(outdated)
    assert groundwork("migrate").stdout == "everything has the version of this code: nothing to migrate\n"
    assert by_hand.score(outdated).model_version == "1"


KILLED = """
import importlib, os, signal, sys
from groundwork.cli.main import app

module, name = sys.argv.pop(1).split(":")
module = importlib.import_module(module)
work = getattr(module, name)

def killed(*arguments):
    result = work(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)
    return result

setattr(module, name, killed)
app(["migrate"])
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "where",
    [
        "groundwork.store.migrate:copy_before",
        "groundwork.store.migrate:migrate",
        "groundwork.models.registry.mlflow_schema:copy_before",
        "groundwork.models.registry.mlflow_schema:upgrade",
        "groundwork.models.registry.addresses:bring_home",
        "groundwork.pipeline.migration_steps:adopt",
        "groundwork.pipeline.migration_steps:_former_flows",
    ],
)
def test_a_migration_that_was_killed_runs_again_to_the_same_result(where: str, outdated: Pilot) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, where], check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    again = groundwork("migrate")
    assert again.returncode == 0, again.stderr
    assert everything_done(outdated)


def test_a_prefect_that_does_not_answer_keeps_nothing_from_its_migration(
    outdated: Pilot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a stack whose Prefect starts only when the migration has ended."""
    address = f"{closed()}/api"
    monkeypatch.setenv("PREFECT_API_URL", address)
    done = groundwork("migrate")
    assert done.returncode == 0, done.stderr
    assert f"no answer from Prefect at {address}: `groundwork worker` checks its schedules" in done.stdout
    monkeypatch.setenv("PREFECT_API_URL", "")
    assert everything_done(outdated)


@pytest.fixture
def of_0_2_0(pilot_copy: Pilot) -> Pilot:
    """A pilot as release 0.2.0 leaves it: no entry of its promotion log is signed, nor its gate's verdict."""
    take_back_to_0_2_0(pilot_copy, by_hand.WORK)
    for signature in (pilot_copy.settings.data_folder / "mlartifacts").rglob("gate/*.sig"):
        signature.unlink()
    return Pilot.here()


def test_the_promotions_of_a_pilot_of_0_2_0_are_signed_as_they_are(of_0_2_0: Pilot) -> None:
    refused = groundwork("status")
    assert "has schema version 1, but this code needs version" in refused.stderr
    before = query(of_0_2_0.settings.store, "select * from promotions")
    told = groundwork("migrate").stdout
    assert "✓ chain    signed the promotion log as it was: version 1 stays champion" in told
    assert groundwork("migrate").stdout == "everything has the version of this code: nothing to migrate\n"
    with Store(of_0_2_0.settings.store) as store:
        chain = read_chain(of_0_2_0, store)
    assert chain.breaks == ()
    assert [(entry.to_version, entry.kind) for entry in chain.entries] == [("1", ""), ("1", "adopted")]
    assert [tuple(entry)[:9] for entry in chain.entries[:1]] == before
    assert chain.entries[1].why == "1 earlier entries were not signed; `groundwork migrate` adopted them as they were"
    with served_here(of_0_2_0, from_cache=True) as client:
        assert client.get("/health/ready").json()["model_version"] == "1"
    assert by_hand.train(Pilot.here()).standing == "champion"
    assert "✓ verify   2 entries" in groundwork("verify").stdout
    change(of_0_2_0.settings.store, "drop trigger promotions_are_not_updated")
    change(of_0_2_0.settings.store, "update promotions set promoted_by = 'mallory' where number = 1")
    assert groundwork("verify").returncode == 1


def test_a_machine_without_the_key_says_where_to_migrate_and_what_waits_follows(
    of_0_2_0: Pilot, monkeypatch: pytest.MonkeyPatch
) -> None:
    trusted, key = signer(of_0_2_0), of_0_2_0.settings.signing_key_file
    aside = key.rename(key.with_name("elsewhere.pem"))
    monkeypatch.setenv("GROUNDWORK_TRUSTED_KEYS", trusted)
    told = groundwork("migrate").stdout
    assert "· chain    the promotion log of late-flights counts for nothing yet" in told
    assert "run `groundwork migrate` where the signing key is" in told
    assert not key.exists()
    mended = groundwork("verify", "--mend", "--by", "ada", "--approved-by", "grace", "--why", "in a hurry")
    assert mended.returncode == 1
    assert "run `groundwork migrate` where the signing key is" in mended.stderr
    with serving(Pilot.here(), ready=False) as service:
        service.wait_until(lambda: "run `groundwork migrate`" in service.ask("/health/ready")[1]["detail"])
        aside.rename(key)
        assert "✓ chain" in groundwork("migrate").stdout
        assert service.wait("/health/ready")["model_version"] == "1"


def test_a_log_that_was_replaced_by_an_unsigned_one_is_not_signed(pilot_copy: Pilot) -> None:
    settings = pilot_copy.settings
    for trigger in ("updated", "deleted", "replaced"):
        change(settings.store, f"drop trigger promotions_are_not_{trigger}")
    change(settings.store, "update promotions set signature = '', verdict = '', promoted_by = 'mallory'")
    assert "✓ chain" not in groundwork("migrate").stdout
    assert groundwork("verify").returncode == 1


def test_a_champion_that_nobody_trusts_any_more_is_told_with_the_verb_that_trains(pilot_copy: Pilot) -> None:
    pilot_copy.settings.signing_key_file.unlink()
    assert groundwork("signer").returncode == 0  # another key
    told = groundwork("migrate").stdout
    assert "· models   version 1 of" in told
    assert "no trusted key has signed the bundle" in told


def repack(pilot: Pilot) -> list[str]:
    """A made-up migration: the champion's bundle, packed in the format before, is signed in the new one.

    What is signed is the content that was trusted in the format before.
    """
    if not migration_steps._unfit_champion(pilot):
        return []
    registry, new = Registry(pilot), predictor.FORMAT_VERSIONS
    version = registry.required_champion()
    predictor.FORMAT_VERSIONS = (new[0] - 1,)
    try:
        trusted = registry.pull(version)
        bundle, _ = read_bundle(Path(trusted.folder), version.bundle_sha256)
    finally:
        predictor.FORMAT_VERSIONS = new
    folder = Path(shutil.copytree(trusted.folder, pilot.settings.data_folder / "packed" / BUNDLE))
    bundle = bundle.model_copy(update={"format_version": new[0]})
    bundle.sha256 = bundle_digest(bundle, (folder / bundle.file).read_bytes())
    (folder / "bundle.json").write_text(bundle.model_dump_json())
    (folder / SIGNATURE).write_text(sign(pilot, bundle.sha256))
    # Not by MLflow, which remembers in this process where the pilot of which this is a copy keeps the run's files.
    artifacts = Path(client_of(pilot).get_run(version.run_id).info.artifact_uri.removeprefix("file://"))
    shutil.copytree(folder, artifacts / BUNDLE, dirs_exist_ok=True)
    set_tag(pilot, version.number, bundle_sha256=bundle.sha256)
    with Store(pilot.settings.store) as store:
        newest, anew = store.promotions.latest(pilot.name), registry.version(version.number)
        assert anew is not None
        promote(store, registry, anew, newest, by="ada", why="packed anew")
    return [f"packed version {version.number} anew"]


def test_a_bundle_of_an_older_format_is_refused_told_and_migrated_by_a_step_of_the_list(
    pilot_copy: Pilot, monkeypatch: pytest.MonkeyPatch
) -> None:
    Registry(pilot_copy)  # the copy's addresses are put right
    monkeypatch.setattr(predictor, "FORMAT_VERSIONS", (2,))
    refused = groundwork("score")
    assert refused.returncode == 1
    assert "has format version 1, but this code reads versions from 2: run `groundwork migrate`" in refused.stderr
    told = groundwork("migrate")
    assert "version 1 of late-flights has a format that this code does not read" in told.stdout
    assert "train another version with `groundwork train`" in told.stdout
    made_up = Step("bundles", lambda pilot: ["pack"] if migration_steps._unfit_champion(pilot) else [], repack)
    monkeypatch.setattr(migration_steps, "STEPS", [*STEPS[:-2], made_up, *STEPS[-2:]])
    assert "✓ bundles  packed version 1 anew" in groundwork("migrate").stdout
    assert "nothing to migrate" in groundwork("migrate").stdout
    assert by_hand.score(Pilot.here()).model_version == "1"
    monkeypatch.setattr(predictor, "FORMAT_VERSIONS", (1,))  # the code before
    for verb in ("score", "migrate"):
        refused = groundwork(verb)
        assert refused.returncode == 1
        assert "has format version 2, but this code reads versions up to 1: update the pilot's code" in refused.stderr


def test_training_replaces_a_champion_of_an_older_format(pilot_copy: Pilot, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the message that names `train` does not lead in a circle."""
    monkeypatch.setattr(predictor, "FORMAT_VERSIONS", (2,))
    monkeypatch.setattr("groundwork.models.packaging.pack.FORMAT_VERSIONS", (2,))
    trained = by_hand.train(pilot_copy)
    assert (trained.version, trained.standing) == ("2", "promoted")
    assert "nothing to migrate" in groundwork("migrate").stdout
