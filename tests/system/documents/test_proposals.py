"""Proposed changes of the documents are shown with their reason, and made only if the team agrees; seals stay."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from commands import groundwork
from groundwork.core.errors import DocumentError
from groundwork.documents import document, proposals, sealing
from groundwork.documents.pilot import Pilot
from groundwork.documents.proposals import Proposal, accept, proposed

REASON = "The gate judges by a bound since this release, so a gain of 0 refuses what it let in before."


def loosen(texts: Mapping[str, str]) -> Proposal | None:
    old, new = "minGainOverChampion: 0\n", "minGainOverChampion: -50\n"
    if old not in texts["charter.yaml"]:
        return None
    return Proposal(REASON, {"charter.yaml": texts["charter.yaml"].replace(old, new)})


def rename_reviewers(texts: Mapping[str, str]) -> Proposal | None:
    """Part of a new format: the version stands in the charter, the change is in OWNERS."""
    if "groundwork/v0" not in texts["charter.yaml"]:
        return None
    return Proposal(
        "The people who review have the name that other tools use.",
        {
            "OWNERS": texts["OWNERS"].replace("readers:", "reviewers:"),
            "charter.yaml": texts["charter.yaml"].replace("groundwork/v0", "groundwork/v1"),
        },
    )


def touch_the_criteria(texts: Mapping[str, str]) -> Proposal | None:
    changed = texts["charter.yaml"].replace("threshold:", "minSamples: 2\n    threshold:", 1)
    return Proposal("Criteria count samples.", {"charter.yaml": changed})


def write_one(texts: Mapping[Path, str]) -> None:
    """Write the first text alone, as a process does that is killed then."""
    file, text = next(iter(texts.items()))
    file.write_text(text)
    raise OSError("killed")


def digests(home: Path) -> dict[str, bytes]:
    return {name: (home / name).read_bytes() for name in proposals.DOCUMENTS}


def test_this_release_proposes_nothing(new_pilot: Pilot) -> None:
    assert (proposed(new_pilot.settings), accept(new_pilot.settings)) == ([], [])


def test_a_proposal_is_shown_with_its_reason_and_made_on_assent_alone(
    new_pilot: Pilot, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = new_pilot.settings.home
    before = digests(home)
    monkeypatch.setattr(proposals, "PROPOSALS", [loosen])
    for arguments in (["migrate"], ["migrate", "--dry-run"], ["migrate", "--dry-run", "--documents"]):
        shown = groundwork(*arguments)
        assert shown.returncode == 0
        for line in (REASON, "--- a/charter.yaml", "-  minGainOverChampion: 0", "+  minGainOverChampion: -50"):
            assert line in shown.stdout
        assert "To agree, run groundwork migrate --documents." in shown.stdout or "--documents" in arguments
        assert digests(home) == before
    done = groundwork("migrate", "--documents")
    assert f"changed charter.yaml: {REASON}" in done.stdout
    assert Pilot.here().charter.gate.min_gain_over_champion == -50
    [copies] = new_pilot.settings.data_folder.glob("documents.before-*")
    assert f"copy of the documents: {copies}" in done.stdout
    assert [(each.name, each.read_bytes()) for each in copies.iterdir()] == [("charter.yaml", before["charter.yaml"])]
    assert "nothing to migrate" in groundwork("migrate", "--documents").stdout


def test_documents_of_an_older_format_are_refused_by_all_verbs_until_the_team_agrees(
    new_pilot: Pilot, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = new_pilot.settings.home
    for name, old, new in (("charter.yaml", "/v1", "/v0"), ("OWNERS", "reviewers:", "readers:")):
        (home / name).write_text((home / name).read_text().replace(old, new))
    monkeypatch.setattr(proposals, "PROPOSALS", [rename_reviewers])
    for verb in ("status", "check", "migrate", "up"):
        refused = groundwork(verb)
        assert refused.returncode == 1
        [line] = refused.stderr.splitlines()
        assert "groundwork/v0 is older than groundwork/v1, which this code reads: run `groundwork migrate`" in line
    with monkeypatch.context() as patch:
        patch.setattr(proposals, "write_atomically", write_one)
        with pytest.raises(OSError, match="killed"):
            accept(new_pilot.settings)
    assert groundwork("migrate", "--documents").returncode == 0
    assert groundwork("status").returncode == 0
    monkeypatch.setattr(document, "FORMAT_VERSION", 0)  # as the code before reads them
    refused = groundwork("migrate")
    assert "groundwork/v1 is newer than groundwork/v0, which this code reads: update the pilot's code" in refused.stderr


def test_sealed_criteria_are_not_changed(new_pilot: Pilot, monkeypatch: pytest.MonkeyPatch) -> None:
    assert groundwork("charter", "lock", "--by", "ada").returncode == 0
    before = digests(new_pilot.settings.home)
    monkeypatch.setattr(proposals, "PROPOSALS", [touch_the_criteria])
    refused = groundwork("migrate", "--documents")
    assert refused.returncode == 1
    assert "the proposal changes sealed criteria, so it was not applied" in refused.stderr
    without_seals = before["charter.yaml"].decode().partition("seals:")[0]
    monkeypatch.setattr(proposals, "PROPOSALS", [lambda _: Proposal("No seals.", {"charter.yaml": without_seals})])
    with pytest.raises(DocumentError, match="sealed criteria"):
        accept(new_pilot.settings)
    assert digests(new_pilot.settings.home) == before
    monkeypatch.setattr(proposals, "PROPOSALS", [loosen])
    assert len(accept(new_pilot.settings)) == 2  # what is not sealed may change
    assert sealing.findings(new_pilot.settings.home, Pilot.here().charter) == []


def test_of_several_changes_none_is_made_if_a_document_would_not_be_valid(
    new_pilot: Pilot, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = digests(new_pilot.settings.home)
    broken = Proposal("A mistake.", {"OWNERS": before["OWNERS"].decode().replace("approvers:", "approver:")})
    monkeypatch.setattr(proposals, "PROPOSALS", [loosen, lambda _: broken])
    with pytest.raises(DocumentError, match=r"OWNERS: approvers: is missing"):
        accept(new_pilot.settings)
    assert digests(new_pilot.settings.home) == before
