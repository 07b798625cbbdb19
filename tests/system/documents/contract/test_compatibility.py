"""A contract that breaks the one released last is found, whatever the history, unless its version says so."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from groundwork.core.errors import DocumentError
from groundwork.documents.contract.compatibility import breaking_changes, check_version
from groundwork.documents.contract.contract import Contract

CITIES = {"metric": "invalidValues", "arguments": {"validValues": ["Rome", "Oslo"]}, "mustBe": 0}
PROMISED: dict[str, Any] = {
    "apiVersion": "v3.1.0",
    "kind": "DataContract",
    "id": "visits",
    "version": "1.2.0",
    "status": "active",
    "schema": [
        {
            "name": "visits",
            "properties": [
                {"name": "id", "logicalType": "string", "primaryKey": True, "description": "", "examples": ["a"]},
                {"name": "at", "logicalType": "timestamp", "tags": ["event_time"], "description": "", "examples": [""]},
                {
                    "name": "age",
                    "logicalType": "integer",
                    "logicalTypeOptions": {"minimum": 0, "maximum": 120},
                    "tags": ["feature"],
                    "description": "",
                    "examples": [40],
                },
                {
                    "name": "city",
                    "logicalType": "string",
                    "tags": ["feature"],
                    "description": "",
                    "examples": ["Rome"],
                    "quality": [
                        {"metric": "invalidValues", "arguments": {"validValues": ["Rome", "Oslo"]}, "mustBe": 0}
                    ],
                },
                {"name": "note", "logicalType": "string", "description": "", "examples": ["x"]},
                {"name": "back", "logicalType": "boolean", "tags": ["outcome"], "description": "", "examples": [True]},
            ],
        }
    ],
}
COLUMNS = "schema.0.properties"
ADULTS = {"type": "sql", "query": "SELECT COUNT(*) FROM ${object} WHERE age < 18", "mustBe": 0}
LIMITS = f"{COLUMNS}.2.logicalTypeOptions"
NEW_COLUMN = {"name": "badge", "logicalType": "string", "description": "", "examples": ["b"]}


@pytest.fixture
def contract(tmp_path: Path, set_in: Callable) -> Callable[..., Contract]:
    """The promised contract with some changes, written to tmp_path."""
    path = tmp_path / "contract.yaml"

    def write(**changes: Any) -> Contract:
        path.write_text(yaml.safe_dump(PROMISED, sort_keys=False), encoding="utf-8")
        for place, value in changes.items():
            set_in(path, place, value)
        return Contract.load(path)

    return write


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({f"{COLUMNS}.4.name": "remark"}, ["note: removed, or renamed to remark"]),
        ({f"{COLUMNS}.4": NEW_COLUMN | {"logicalType": "number", "examples": [1]}}, ["note: removed"]),
        ({f"{COLUMNS}.4.logicalType": "number"}, ["note: the type was string, is now number"]),
        ({f"{COLUMNS}.4.required": True}, ["note: is now required"]),
        (
            {f"{COLUMNS}.1.logicalTypeOptions": {"defaultTimezone": "Europe/Berlin", "timezone": True}},
            ["at: the time zone was UTC, is now Europe/Berlin", "at: must now have a time zone in the source"],
        ),
        ({f"{COLUMNS}.4.unique": True}, ["note: must now be unique"]),
        ({f"{COLUMNS}.4.tags": ["feature"]}, ["note: is now tagged feature"]),
        ({f"{COLUMNS}.2.tags": []}, ["age: is no longer tagged feature"]),
        ({LIMITS: {"minimum": 18}}, ["age: minimum was 0, is now 18"]),
        ({LIMITS: {"minimum": 0, "maximum": 99}}, ["age: maximum was 120, is now 99"]),
        ({f"{COLUMNS}.4.logicalTypeOptions": {"minLength": 1}}, ["note: minLength was not set, is now 1"]),
        (
            {f"{COLUMNS}.4.logicalTypeOptions": {"pattern": "^a"}},
            ["note: the pattern was not set, is now ^a, which may accept fewer values"],
        ),
        ({f"{COLUMNS}.3.quality.0.arguments.validValues": ["Rome", "Bari"]}, ["city: may no longer be Oslo"]),
        ({f"{COLUMNS}.4.quality": [CITIES]}, ["note: must now be one of Rome, Oslo"]),
        (
            {f"{COLUMNS}.0.primaryKey": False, f"{COLUMNS}.4.primaryKey": True},
            ["id: is no longer the primaryKey", "note: is now the primaryKey", "note: is now required"],
        ),
        (
            {f"{COLUMNS}.4": NEW_COLUMN | {"required": True}},
            ["note: removed, or renamed to badge", "badge: new and required"],
        ),
        ({"schema.0.name": "calls"}, ["the data set visits was renamed to calls"]),
        (
            {"schema.0.quality": [ADULTS]},
            ["visits: SELECT COUNT(*) FROM ${object} WHERE age < 18: a new rule"],
        ),
        # What lets in more, or binds nobody who delivers or asks, breaks nothing.
        ({f"{COLUMNS}.2.logicalTypeOptions": {"maximum": 130}}, []),
        ({f"{COLUMNS}.3.quality.0.arguments.validValues": ["Rome", "Oslo", "Bari"]}, []),
        ({f"{COLUMNS}.3.quality": []}, []),
        ({f"{COLUMNS}.4.description": "Anything."}, []),
        ({"schema.0.quality": [{"metric": "rowCount", "mustBeGreaterThan": 5}]}, []),
        ({f"{COLUMNS}.0.required": True}, []),
    ],
)  # fmt: skip
def test_what_breaks_a_contract_is_named(changes: dict[str, Any], found: list[str], contract: Callable) -> None:
    promised = contract()
    assert sorted(breaking_changes(promised, contract(**changes))) == sorted(found)


def test_a_new_column_that_may_be_missing_breaks_nothing(contract: Callable) -> None:
    properties = PROMISED["schema"][0]["properties"]
    assert list(breaking_changes(contract(), contract(**{COLUMNS: [*properties, NEW_COLUMN]}))) == []


class Repository:
    """A real repository of git, apart from the machine's own pilot."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *arguments: str) -> str:
        command = ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.org", *arguments]
        return subprocess.run(command, cwd=self.folder, check=True, capture_output=True, text=True).stdout.strip()

    def commit(self, *arguments: str) -> None:
        self("add", "contract.yaml")
        self("commit", "--quiet", "--message", "The contract.", *arguments)


@pytest.fixture
def git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    for name in ("GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE"):  # a hook's git must not get to see this repository
        monkeypatch.delenv(name, raising=False)
    repository = Repository(tmp_path)
    repository("init", "--quiet", "--initial-branch=main")
    return repository


NARROWER = {f"{COLUMNS}.2.logicalTypeOptions": {"minimum": 0, "maximum": 99}}


def test_without_a_history_there_is_nothing_to_break(contract: Callable, tmp_path: Path) -> None:
    assert "there is no earlier version" in check_version(tmp_path, contract())


def test_a_break_of_the_last_commit_is_refused_with_what_to_do(
    contract: Callable, git: Repository, tmp_path: Path
) -> None:
    """Before it is committed, and after."""
    assert "there is no earlier version" in check_version(tmp_path, contract())
    git.commit()
    assert "there is no earlier version" in check_version(tmp_path, contract())
    with pytest.raises(DocumentError) as refused:
        check_version(tmp_path, contract(version="1.3.0", **NARROWER))
    assert str(refused.value).splitlines() == [
        "contract.yaml: version 1.3.0 breaks compatibility with version 1.2.0 at the last commit:",
        "  age: maximum was 120, is now 99",
        "Undo these changes, or raise the version to 2.0.0 and inform the data's producers and the service's clients.",
    ]
    git.commit()
    with pytest.raises(DocumentError, match=r"breaks compatibility with version 1\.2\.0 at the commit "):
        check_version(tmp_path, contract(version="1.3.0", **NARROWER))
    assert "starts a new series: version 2.0.0 after 1.3.0" in check_version(
        tmp_path, contract(version="2.0.0", **NARROWER)
    )


def test_a_release_tag_is_what_counts(contract: Callable, git: Repository, tmp_path: Path) -> None:
    """Between releases a change may be taken back, or come in several steps."""
    contract()
    git.commit()
    git("tag", "v0.9.0")
    widened = contract(**{f"{COLUMNS}.2.logicalTypeOptions": {"maximum": 150}})
    git.commit()
    assert "is compatible with version 1.2.0 at the tag v0.9.0" in check_version(tmp_path, widened)
    assert "is compatible with" in check_version(tmp_path, contract())
    contract(**NARROWER)
    git.commit()
    git.commit("--allow-empty")
    with pytest.raises(DocumentError, match=r"at the tag v0\.9\.0"):
        check_version(tmp_path, contract(**NARROWER))


def test_a_branch_is_compared_with_where_it_left_the_main_branch(
    contract: Callable, git: Repository, tmp_path: Path
) -> None:
    """However many commits it has, and wherever the main branch went since."""
    contract()
    git.commit()
    git("checkout", "--quiet", "-b", "work")
    contract(**NARROWER)
    git.commit()
    changed = contract(**NARROWER | {f"{COLUMNS}.4.description": "Anything."})
    git.commit()
    with pytest.raises(DocumentError, match=r"at the commit \w+ of main:\n  age: maximum was 120, is now 99"):
        check_version(tmp_path, changed)
    git("checkout", "--quiet", "main")
    git("merge", "--quiet", "--no-ff", "work", "--message", "Merged.")
    with pytest.raises(DocumentError, match="age: maximum was 120, is now 99"):
        check_version(tmp_path, changed)


def test_another_contract_or_a_draft_promised_nothing(contract: Callable, git: Repository, tmp_path: Path) -> None:
    contract()
    git.commit()
    assert "another one or a draft" in check_version(tmp_path, contract(id="calls", **NARROWER))
    contract(status="draft")
    git.commit()
    assert "another one or a draft" in check_version(tmp_path, contract(**NARROWER))


def test_before_its_first_major_version_a_break_takes_a_minor_one(
    contract: Callable, git: Repository, tmp_path: Path
) -> None:
    contract(version="0.3.1")
    git.commit()
    with pytest.raises(DocumentError, match=r"raise the version to 0\.4\.0"):
        check_version(tmp_path, contract(version="0.3.2", **NARROWER))
    assert "new series" in check_version(tmp_path, contract(version="0.4.0", **NARROWER))


def test_nobody_can_tell_from_a_history_that_is_cut_short(
    contract: Callable, git: Repository, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    contract()
    git.commit()
    changed = contract(**NARROWER)
    git.commit()
    clone = tmp_path_factory.mktemp("clone")
    git("clone", "--quiet", "--depth=1", f"file://{tmp_path}", str(clone))
    with pytest.raises(DocumentError, match="the last release cannot be found in a shallow clone"):
        check_version(clone, changed)
    Repository(clone)("fetch", "--quiet", "--unshallow")
    with pytest.raises(DocumentError, match="age: maximum was 120, is now 99"):
        check_version(clone, changed)


def test_nobody_can_tell_what_a_contract_promised_that_cannot_be_read(
    contract: Callable, git: Repository, tmp_path: Path
) -> None:
    """A new major version is the way on."""
    present = contract()
    text = (tmp_path / "contract.yaml").read_text(encoding="utf-8")
    (tmp_path / "contract.yaml").write_text(text.replace("logicalType", "kindOf"), encoding="utf-8")
    git.commit()
    present = contract()
    with pytest.raises(DocumentError, match="unknown, because that version cannot be read any more"):
        check_version(tmp_path, present)
    assert "new series" in check_version(tmp_path, contract(version="2.0.0"))


def test_git_that_does_not_answer_is_not_taken_for_no_history(
    contract: Callable, git: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contract()
    git.commit()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DocumentError, match="git cannot read this repository"):
        check_version(tmp_path, contract(**NARROWER))
