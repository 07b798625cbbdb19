"""What an update does to a file follows from what the template and the team did to it."""

import pytest
from groundwork.documents.updating.changes import Trees, survives

BASE = b"one\ntwo\nthree\nfour\nfive\nsix\n"
OURS = BASE.replace(b"one", b"one of ours")
THEIRS = BASE.replace(b"six", b"six of theirs")
BOTH = OURS.replace(b"six", b"six of theirs")


def kind(
    old: bytes | None,
    new: bytes | None,
    mine: bytes | None,
    result: bytes | None,
    *,
    moved: dict[str, str] | None = None,
    target: bytes = b"",
    **others: set[str],
) -> tuple[str, str] | None:
    """The kind and the note of the file `f`; `target` is the content of the file that it moved to."""
    elsewhere = {"g": target} if target else {}
    trees = Trees(
        old={"f": old} if old is not None else {},
        new=({"f": new} if new is not None else {}) | ({"g": THEIRS} if target else {}),
        mine={"f": mine} if mine is not None else {},
        result=({"f": result} if result is not None else {}) | elsewhere,
        conflicts=others.get("conflicts", set()),
        moved=moved or {},
        in_the_way=others.get("in_the_way", set()),
    )
    found = [each for each in trees.changes({"f": "template", "g": "template"}) if each.path == "f"]
    return (found[0].kind, found[0].note) if found else None


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ((BASE, BASE, BASE, BASE), None),
        ((BASE, THEIRS, BASE, THEIRS), ("updated", "")),
        ((None, THEIRS, None, THEIRS), ("new", "")),
        ((BASE, None, BASE, None), ("removed", "")),
        ((BASE, THEIRS, OURS, BOTH), ("merged", "")),
        ((BASE, BASE, OURS, OURS), ("kept", "edited here")),
        ((BASE, None, OURS, OURS), ("kept", "no longer updated")),
        ((BASE, None, OURS, None), ("lost", "dropped by the template")),
        ((BASE, THEIRS, OURS, THEIRS), ("lost", "overwritten")),
        ((BASE, THEIRS, None, THEIRS), ("lost", "deleted here; it would be back")),
        ((BASE, THEIRS, None, None), ("kept", "deleted here; what the template changed is not in")),
        ((BASE, BASE, None, None), None),
        ((BASE, THEIRS, OURS, OURS), ("kept", "edited here; what the template changed is not in")),
        ((BASE, OURS, OURS, OURS), None),
    ],
)
def test_the_kind_of_a_file(
    files: tuple[bytes | None, bytes | None, bytes | None, bytes | None], expected: tuple[str, str] | None
) -> None:
    assert kind(*files) == expected


def test_an_edit_that_moves_with_its_file_is_merged() -> None:
    where = {"f": "g"}
    assert kind(BASE, None, OURS, None, moved=where, target=BOTH) == ("merged", "moved to g")
    assert kind(BASE, None, OURS, None, moved=where, target=THEIRS) == ("lost", "moved to g")
    assert kind(BASE, None, BASE, None, moved=where, target=THEIRS) == ("removed", "moved to g")


def test_a_conflict_is_gits() -> None:
    assert kind(BASE, THEIRS, OURS, b"<<<<<<<", conflicts={"f"}) == ("conflict", "")


def test_a_new_file_that_would_meet_one_that_git_does_not_know_is_a_conflict() -> None:
    found = kind(None, THEIRS, None, THEIRS, in_the_way={"f"})
    assert found == ("conflict", "a file of yours that is not in git has the same name")


def test_what_the_team_deleted_stays_deleted_or_is_no_survivor() -> None:
    without = BASE.replace(b"one\n", b"")
    assert survives(BASE, without, THEIRS, THEIRS.replace(b"one\n", b""))
    assert not survives(BASE, without, THEIRS, THEIRS)
