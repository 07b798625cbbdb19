"""The champion is shown from a note on this disk, which says what the registry says."""

import subprocess
import sys

import pytest
from groundwork.documents.pilot import Pilot
from groundwork.models.registry.registry import Registry
from groundwork.models.registry.version import champion_of
from groundwork.store.database import Store


def test_the_note_says_what_the_registry_says(pilot: Pilot) -> None:
    with Store(pilot.settings.store) as store:
        assert champion_of(pilot, store) == Registry(pilot).required_champion()


def test_without_a_note_the_registry_is_asked_and_noted(pilot_copy: Pilot) -> None:
    [note] = pilot_copy.settings.champion_cache.glob("version-*.json")
    said = note.read_text(encoding="utf-8")
    for damaged in (None, "{}", "no JSON"):
        note.unlink() if damaged is None else note.write_text(damaged, encoding="utf-8")
        with Store(pilot_copy.settings.store) as store:
            assert champion_of(pilot_copy, store) == Registry(pilot_copy).required_champion()
        assert note.read_text(encoding="utf-8") == said


def test_a_note_of_another_bundle_does_not_count(pilot_copy: Pilot) -> None:
    [note] = pilot_copy.settings.champion_cache.glob("version-*.json")
    said = note.read_text(encoding="utf-8")
    bundle = Registry(pilot_copy).required_champion().bundle_sha256
    note.write_text(said.replace(bundle, "0" * 64), encoding="utf-8")
    with Store(pilot_copy.settings.store) as store:
        champion = champion_of(pilot_copy, store)
    assert champion is not None
    assert champion.bundle_sha256 == bundle


def test_a_pilot_that_promoted_nothing_has_no_champion(new_pilot: Pilot) -> None:
    with Store(new_pilot.settings.store) as store:
        assert champion_of(new_pilot, store) is None


@pytest.mark.parametrize("command", ["status", "check", "--help"])
def test_a_look_at_the_pilot_imports_no_library_of_the_pipeline(pilot: Pilot, command: str) -> None:
    looked = (
        "import sys\n"
        "from groundwork.cli.main import app\n"
        "try:\n"
        f"    app(['{command}'])\n"
        "except SystemExit:\n"
        "    pass\n"
        "print('imported:', {'mlflow', 'prefect', 'pandas', 'numpy', 'sklearn', 'ibis'} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", looked], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "imported: set()", done.stdout
