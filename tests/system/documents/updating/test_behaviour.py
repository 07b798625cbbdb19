"""What cannot be found out about an update is unknown, for a reason, and never taken for unchanged."""

import contextlib
from pathlib import Path
from typing import Any

import pytest
from groundwork.core.settings import Settings
from groundwork.documents.template_files import Compared
from groundwork.documents.updating import behaviour
from groundwork.documents.updating.attempt import Destination, Update
from groundwork.documents.updating.behaviour import Behaviour
from groundwork.documents.updating.changes import Change
from groundwork.documents.updating.worktree import Worktree

Said = dict[str, dict[str, Any]]  # by verb
CHECKED = {"valid": True}


def judged(passed: bool | None, line: str = "5", found: str = "6", time: str = "1 ms") -> dict[str, Any]:
    checks = [
        {"name": "gain", "passed": passed, "wanted": line, "seen": found},
        {"name": "CPU time for one row", "passed": True, "wanted": "9 ms", "seen": time},
    ]
    return {"judged": [{"version": "7", "champion": True, "passed": passed, "evidence": {"checks": checks}}]}


def compared(monkeypatch: pytest.MonkeyPatch, folder: Path, *, present: Said, new: Said, **update: Any) -> Behaviour:
    """What is found where the two codes say this."""
    for name in ("here", "there"):
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "charter.yaml").touch()
    said = {(folder / "here").resolve(): present, (folder / "there").resolve(): new}
    monkeypatch.setattr(behaviour._Code, "run", lambda self, verb: said[self.home.resolve()][verb])
    tried = {
        "target": Destination(before="v1.0.0", after="v2.0.0", passed=[]),
        "owners": [],
        "changes": [],
        "compared": Compared(edited=(), missing=(), added=(), undelivered=(), digests={}),
        "new_packages": False,
    }
    tree = Worktree(folder / "there", folder / "there", "")
    settings = Settings(home=folder / "here")
    return behaviour.compare(settings, Update(**(tried | update)), tree, lambda _: contextlib.nullcontext())


def test_the_same_verdict_with_the_same_figures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """CPU time is never the same."""
    both = {"check": CHECKED, "judge": judged(True)}
    found = compared(monkeypatch, tmp_path, present=both, new=both | {"judge": judged(True, time="2 ms")})
    assert [each.sentence for each in found.verdicts] == [
        "version 7, the champion, passes before and after, with the same figures"
    ]
    assert (found.gate_unknown, found.check) == ("", "passes")


def test_another_verdict_and_another_figure_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    present = {"check": CHECKED, "judge": judged(True)}
    new = {"check": {"error": "CODEOWNERS: is missing"}, "judge": judged(False, found="4")}
    found = compared(monkeypatch, tmp_path, present=present, new=new)
    [verdict] = found.verdicts
    assert verdict.sentence == "version 7, the champion, passes now, and is refused with the new code"
    [check] = verdict.differences
    assert (check.before, check.after) == ("passed: required 5, found 6", "failed: required 5, found 4")
    assert found.check_sentence == "passes now, and will fail: CODEOWNERS: is missing"
    other = compared(monkeypatch, tmp_path, present=present, new=present | {"judge": judged(True, found="7")})
    assert other.verdicts[0].sentence == "version 7, the champion, passes before and after, with other figures"


@pytest.mark.parametrize(("which", "words"), [("present", "the present code"), ("new", "the new code")])
def test_a_code_that_cannot_judge_leaves_the_gate_unknown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, which: str, words: str
) -> None:
    said: dict[str, Said] = {name: {"check": CHECKED, "judge": judged(True)} for name in ("present", "new")}
    said[which]["judge"] = {"error": "there is no data"}
    found = compared(monkeypatch, tmp_path, **said)
    assert found.verdicts == []
    assert found.gate_unknown == f"{words} cannot judge: there is no data"
    assert found.check == "passes"


def test_code_with_conflicts_is_not_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    conflict = Change(path="src/groundwork/cli/main.py", kind="conflict", owner="template")
    found = compared(monkeypatch, tmp_path, present={}, new={}, changes=[conflict])
    assert found.gate_unknown == "the new code has conflicts (src/groundwork/cli/main.py)"
    assert found.check == "unknown"


def test_without_its_packages_the_new_code_is_unknown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", "")
    found = compared(monkeypatch, tmp_path, present={}, new={}, new_packages=True)
    assert found.gate_unknown == found.check_says == "the new code needs other packages, and uv is not installed"
    uv = tmp_path / "uv"
    uv.write_text("#!/bin/sh\necho 'no such package: nothing' >&2\nexit 1\n")
    uv.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    found = compared(monkeypatch, tmp_path, present={}, new={}, new_packages=True)
    assert found.gate_unknown == "the packages of the new code cannot be installed: uv: no such package: nothing"
