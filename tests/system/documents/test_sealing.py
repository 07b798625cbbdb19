"""The criteria are sealed, amended by two, and found out when somebody moves them in silence, on a real git history."""

import shutil
import subprocess
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
import yaml
from groundwork.documents import sealing
from groundwork.documents.charter import Charter
from groundwork.documents.pilot import Pilot
from groundwork.documents.sealing import SealError
from groundwork.readiness.assemble import assess
from groundwork.readiness.prove import seal_findings
from groundwork.readiness.scorecard import Row
from groundwork.store.database import Store
from groundwork.store.findings import keep

DAY = date(2026, 11, 23)
THRESHOLD = "readyToScale.criteria.0.threshold"


@pytest.fixture
def home(new_pilot: Pilot) -> Path:
    _git(new_pilot.settings.home, "init", "--quiet")
    _commit(new_pilot.settings.home)
    return new_pilot.settings.home


def _git(home: Path, *arguments: str) -> None:
    subprocess.run(["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.com", *arguments], cwd=home, check=True)


def _commit(home: Path) -> None:
    _git(home, "add", "charter.yaml")
    _git(home, "commit", "--quiet", "--message", "A change")


def _lock(home: Path) -> None:
    sealing.lock(home, Pilot.here().owners, "ada", DAY)
    _commit(home)


def _findings(home: Path) -> list[str]:
    return sealing.findings(home, Charter.load(home / "charter.yaml"))


def _edit_in_silence(home: Path, set_in: Callable) -> None:
    """The line is locked, moved in one commit, and taken back in the next."""
    _lock(home)
    sealed = (home / "charter.yaml").read_bytes()
    set_in(home / "charter.yaml", THRESHOLD, 1)
    _commit(home)
    (home / "charter.yaml").write_bytes(sealed)
    _commit(home)


def test_criteria_may_change_as_long_as_nobody_locked_them(home: Path, set_in: Callable) -> None:
    set_in(home / "charter.yaml", THRESHOLD, 1)
    _commit(home)
    _lock(home)
    assert _findings(home) == []


def test_a_lock_keeps_the_document_and_its_comments(home: Path) -> None:
    file = home / "charter.yaml"
    file.write_text("# Agreed in the kick-off.\n" + file.read_text(encoding="utf-8"), encoding="utf-8")
    before = file.read_text(encoding="utf-8")
    _lock(home)
    assert file.read_text(encoding="utf-8").startswith(before)
    assert _findings(home) == []
    [seal] = Pilot.here().charter.seals
    assert (seal.by, seal.on) == ("ada", DAY)


def test_it_is_locked_once_and_by_somebody_known(home: Path) -> None:
    with pytest.raises(SealError, match="mallory: not in OWNERS"):
        sealing.lock(home, Pilot.here().owners, "mallory", DAY)
    _lock(home)
    with pytest.raises(SealError, match="locked on 2026-11-23 by ada: to change them, run `groundwork charter amend`"):
        sealing.lock(home, Pilot.here().owners, "ada", DAY)


def test_a_change_after_the_lock_is_found_until_it_is_amended(home: Path, set_in: Callable) -> None:
    _lock(home)
    set_in(home / "charter.yaml", THRESHOLD, 1)
    assert any("the criteria differ from those sealed on 2026-11-23 by ada" in each for each in _findings(home))
    sealing.amend(
        home, Pilot.here().owners, by="ada", approved_by="grace", reason="The baseline was measured anew.", today=DAY
    )
    _commit(home)
    assert _findings(home) == []
    assert [seal.approved_by for seal in Pilot.here().charter.seals] == [None, "grace"]
    set_in(home / "charter.yaml", THRESHOLD, 2)
    sealing.amend(home, Pilot.here().owners, by="grace", approved_by="emmy", reason="Once more.", today=DAY)
    assert _findings(home) == []


@pytest.mark.parametrize(
    ("changed", "approved_by", "why_not"),
    [
        (False, "grace", "have not changed since the last seal"),
        (True, "ada", "requires a second person"),
        (True, "eve", "not in OWNERS"),
    ],
)
def test_an_amendment_needs_a_change_and_a_second_person(
    changed: bool, approved_by: str, why_not: str, home: Path, set_in: Callable
) -> None:
    _lock(home)
    if changed:
        set_in(home / "charter.yaml", THRESHOLD, 1)
    before = (home / "charter.yaml").read_bytes()
    with pytest.raises(SealError, match=why_not):
        sealing.amend(home, Pilot.here().owners, by="ada", approved_by=approved_by, reason="Because.", today=DAY)
    assert (home / "charter.yaml").read_bytes() == before


def test_a_change_that_was_committed_and_taken_back_is_found(home: Path, set_in: Callable) -> None:
    _edit_in_silence(home, set_in)
    [finding] = _findings(home)
    assert finding.endswith("changed the criteria without an amendment")


def test_criteria_sealed_by_the_rules_of_yaml_1_1_remain_sealed(home: Path, set_in: Callable) -> None:
    """A bare 010 was read as 8 when it was sealed; the digest in the seal and in the history is of an 8."""
    set_in(home / "charter.yaml", THRESHOLD, 4711)
    file = home / "charter.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("threshold: 4711", "threshold: 010"), encoding="utf-8")
    digest = sealing.criteria_digest(yaml.safe_load(file.read_text(encoding="utf-8")))
    with file.open("a", encoding="utf-8") as charter:
        charter.write(f"seals:\n  - {{'on': 2026-11-23, by: ada, reason: locked, sha256: {digest}}}\n")
    _commit(home)
    assert _findings(home) == []
    assert Charter.load(file).ready_to_scale.criteria[0].threshold == 10


def test_a_forged_seal_is_found(home: Path, set_in: Callable) -> None:
    """Somebody moves the line and writes the digest that fits it into the seal."""
    _lock(home)
    set_in(home / "charter.yaml", THRESHOLD, 1)
    digest = sealing.criteria_digest(yaml.safe_load((home / "charter.yaml").read_text(encoding="utf-8")))
    set_in(home / "charter.yaml", "seals.0.sha256", digest)
    [finding] = _findings(home)
    assert "has a seal that charter.yaml no longer has" in finding


def test_seals_that_are_not_last_in_the_file_are_left_alone(home: Path, set_in: Callable) -> None:
    _lock(home)
    set_in(home / "charter.yaml", THRESHOLD, 1)
    file = home / "charter.yaml"
    file.write_text(file.read_text(encoding="utf-8") + "roadmap: {retraining: monthly}\n", encoding="utf-8")
    before = file.read_bytes()
    with pytest.raises(SealError, match="move `seals:` to the end of the file"):
        sealing.amend(home, Pilot.here().owners, by="ada", approved_by="grace", reason="Because.", today=DAY)
    assert file.read_bytes() == before


def test_seals_that_were_taken_out_are_found(home: Path, set_in: Callable) -> None:
    """As if the criteria had never been locked."""
    _lock(home)
    set_in(home / "charter.yaml", "seals", [])
    [finding] = _findings(home)
    assert "has a seal that charter.yaml no longer has" in finding


def test_nobody_can_tell_from_a_history_that_is_cut_short(
    home: Path, set_in: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CI fetches one commit unless it is told otherwise, and the silent edit lies before it."""
    _edit_in_silence(home, set_in)
    clone = tmp_path / "clone"
    _git(home, "add", "OWNERS", "contract.yaml")
    _commit(home)
    _git(home, "clone", "--quiet", "--depth=1", f"file://{home}", str(clone))
    assert _findings(clone) == []
    assert "`git fetch --unshallow`" in sealing.cannot_tell(clone, Charter.load(clone / "charter.yaml"))
    monkeypatch.setenv("GROUNDWORK_HOME", str(clone))
    assert (_locked().state, _locked().blocks) == ("unknown", True)
    assert "`git fetch --unshallow`" in _locked().fix
    _git(clone, "fetch", "--quiet", "--unshallow")
    assert sealing.cannot_tell(clone, Charter.load(clone / "charter.yaml")) == ""
    assert _locked().state == "failed"


def test_without_git_nobody_can_tell_either_until_it_was_told_elsewhere(home: Path) -> None:
    """As in an image: what `groundwork readiness --prove` found in the repository counts for this very charter."""
    _lock(home)
    pilot = Pilot.here()
    with Store(pilot.settings.store) as store:
        found = seal_findings(pilot)
        shutil.rmtree(home / ".git")
        assert _locked().state == "unknown"
        assert "without git" in _locked().seen
        keep(pilot, store, "git log", found, 0)
    assert _locked().state == "passed"
    assert "checked with git on" in _locked().seen
    with (home / "charter.yaml").open("a", encoding="utf-8") as file:
        file.write("# another charter\n")
    assert _locked().state == "unknown"


def _locked() -> Row:
    pilot = Pilot.here()
    with Store(pilot.settings.store) as store:
        return next(row for row in assess(pilot, store, DAY).rows if row.id == "locked")
