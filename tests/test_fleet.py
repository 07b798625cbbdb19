"""`groundwork-fleet` shows what the repositories of many pilots hold, and says of all else why it is not known.

Most tests use a template of four files, made here; one compares pilots with the real one, in several variants.
"""

import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import copier
import pytest
import yaml

from browsing import HARD_TO_READ, WIDTHS, fits
from groundwork_fleet import fleet, git, listing, service, show
from groundwork_fleet.facts import COLUMNS, Fact, Row
from groundwork_fleet.listing import Entry
from serving_git import git_over_http, serving
from support import HOSTILE_ANSWERS, ROOT, commit, copy, execute

TODAY = date(2026, 11, 28)
NOW = datetime(2026, 11, 28, 9, 30, tzinfo=UTC)
BOUNDARY = "# ---- Above: the template's, brought up to date by `copier update`. Below: yours. ----\n"
TEMPLATE = {
    "copier.yml": """\
_subdirectory: template
_skip_if_exists: [charter.yaml, OWNERS, src/use_case]
project_name: {type: str, default: New pilot}
owner: {type: str, default: Ada}
day0: {type: str, default: TBD}
ci: {type: str, default: github}
ci_github: {type: bool, when: false, default: "{{ ci == 'github' }}"}
shout: {type: str, when: false, default: "{{ project_name | upper }}"}
""",
    "template/charter.yaml.jinja": "metadata: {title: {{ project_name | to_json }}}\nplan: {day0: {{ day0 }}}\n",
    "template/OWNERS.jinja": "accountable: {decision: {name: {{ owner | to_json }}, handle: ada}}\n",
    "template/src/use_case/model.py": "model = 1\n",
    "template/src/system.py": "release = 1\n",
    "template/README.md.jinja": "# {{ shout }}\n" + BOUNDARY + "Notes.\n",
    "template/{% if ci_github %}.github{% endif %}/checks.yml": "on: push\n",
    "template/{{_copier_conf.answers_file}}.jinja": "# Written by Copier\n{{ _copier_answers | to_nice_yaml -}}\n",
}


def write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A template with the releases 0.1.0, 0.2.0 and 0.3.0, ten days between them, the last one today."""
    folder = tmp_path_factory.mktemp("small") / "template"
    write(folder, TEMPLATE)
    for number in (1, 2, 3):
        write(folder, {"template/src/system.py": f"release = {number}\n"})
        commit(folder)
        at = f"{TODAY - timedelta(10 * (3 - number))}T09:00:00Z"
        tag = ["git", "-c", "tag.gpgsign=false", "tag", "--annotate", f"v0.{number}.0", "--message", "release"]
        execute(folder, "env", f"GIT_COMMITTER_DATE={at}", *tag)
    execute(folder, "git", "tag", "not-a-release")
    return folder


@pytest.fixture(scope="module")
def written(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, dict[str, Any]], Path]:
    """Writes a pilot from the small template, and commits it; each only once."""
    folder, known = tmp_path_factory.mktemp("written"), dict[str, Path]()

    def run(version: str, answers: dict[str, Any]) -> Path:
        name = f"{version} {answers}"
        if name not in known:
            known[name] = project = folder / str(len(known)) / "pilot"
            copier.run_copy(str(small), project, data=answers, vcs_ref=version, defaults=True, quiet=True, unsafe=False)
            commit(project)
        return known[name]

    return run


@pytest.fixture
def made(written: Callable[[str, dict[str, Any]], Path], tmp_path: Path) -> Callable[..., Path]:
    """Returns a new copy of a pilot."""

    def make(folder: str = "pilot", version: str = "v0.3.0", **answers: Any) -> Path:
        return Path(shutil.copytree(written(version, answers), tmp_path / folder))

    return make


def read(*entries: Entry | Path | str, template: Path | str = "", today: date = TODAY) -> list[Row]:
    """The rows that the page shows; read in a thread, because a browser of other tests may have a loop in this one."""
    listed = [each if isinstance(each, Entry) else Entry(repository=str(each)) for each in entries]
    with ThreadPoolExecutor(1) as thread:
        work = fleet.read(listed, str(template), today, lambda done, of: None)
        return thread.submit(asyncio.run, work).result()


def texts(row: Row) -> dict[str, str]:
    return {column: row.fact(column).text for column in COLUMNS}


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    known = os.environ | {"PYTHONPATH": str(ROOT / "fleet/src")} | environment
    program = [sys.executable, "-m", "groundwork_fleet.cli", *arguments]
    return subprocess.run(program, env=known, text=True, capture_output=True)


# ---- what git knows ------------------------------------------------------------------------------------------------


def test_a_pilot_as_it_was_made_needs_no_attention(made: Callable[..., Path]) -> None:
    [row] = read(made(day0="2026-11-18"))
    assert row.name == "New pilot"
    assert row.to_do == []
    assert {name: text for name, text in texts(row).items() if text != "unknown"} == {
        "version": "0.3.0, newest",
        "day": "10 of 90",
        "decision": "none yet",
        "owner": "Ada",
        "edited": "none",
        "update": "none",
    }


def test_what_git_cannot_tell_is_unknown_with_the_reason(made: Callable[..., Path]) -> None:
    [row] = read(made())
    assert [row.fact(name).unknown for name in ("verdict", "champion", "gain")] == [
        "the list gives no address of its service"
    ] * 3
    assert row.fact("alerts").unknown == "the list gives no address of its Prometheus"
    assert row.fact("day").unknown == "day 0 is not set in charter.yaml"


def test_days_behind_are_counted_from_the_first_release_that_the_pilot_lacks(made: Callable[..., Path]) -> None:
    [row] = read(made(version="v0.1.0"), today=TODAY + timedelta(1))
    value = {"version": "0.1.0", "newest": "0.3.0", "releases_behind": 2, "days_behind": 11}
    assert row.fact("version").value == value
    assert "2 releases, 11 days behind" in row.to_do


def test_a_pilot_between_two_releases_is_behind_the_later_one(small: Path, made: Callable[..., Path]) -> None:
    project = made(version="v0.1.0")
    between = execute(small, "git", "rev-parse", "v0.2.0~0").strip()
    answers = project / ".copier-answers.yml"
    answers.write_text(answers.read_text().replace("v0.1.0", f"v0.1.0-1-g{between[:9]}"))
    write(project, {"src/system.py": "release = 2\n"})
    commit(project)
    [row] = read(project)
    assert row.fact("version").value["releases_behind"] == 2
    assert texts(row)["edited"] == "none"


def test_edited_and_missing_files_of_the_template_are_named(made: Callable[..., Path]) -> None:
    project = made(version="v0.2.0")
    write(project, {"src/system.py": "release = 2 # ours\n"})
    (project / ".github/checks.yml").unlink()
    commit(project)
    [row] = read(project)
    assert row.fact("edited").value == {"compared": 3, "edited": ["src/system.py"], "missing": [".github/checks.yml"]}
    assert "template files 1 edited: src/system.py; 1 missing: .github/checks.yml" in row.to_do


def test_what_is_the_teams_may_be_edited(made: Callable[..., Path]) -> None:
    project = made()
    readme = (project / "README.md").read_text()
    write(
        project,
        {
            "src/use_case/model.py": "model = 2\n",
            "OWNERS": "accountable: {decision: {name: Grace, handle: grace}}\n",
            "README.md": readme + "More notes.\n",
            "src/use_case/new.py": "",
        },
    )
    commit(project)
    [row] = read(project)
    assert (texts(row)["edited"], texts(row)["owner"]) == ("none", "Grace")


def test_an_edit_above_the_line_of_a_shared_file_is_one(made: Callable[..., Path]) -> None:
    project = made()
    readme = (project / "README.md").read_text()
    write(project, {"README.md": readme.replace("# NEW PILOT", "# Our pilot")})
    commit(project)
    assert read(project)[0].fact("edited").value["edited"] == ["README.md"]


def test_answers_decide_which_files_are_expected(made: Callable[..., Path]) -> None:
    [row] = read(made(ci="none"))
    assert row.fact("edited").value == {"compared": 2, "edited": [], "missing": []}


@pytest.mark.slow
@pytest.mark.parametrize("answers", [{}, HOSTILE_ANSWERS], ids=["defaults", "hostile answers"])
def test_the_real_template_is_compared_as_copier_writes_it(
    answers: dict[str, Any], template: Path, tmp_path: Path
) -> None:
    copy(template, tmp_path / "pilot", **answers)
    commit(tmp_path / "pilot")
    [row] = read(tmp_path / "pilot")
    compared = row.fact("edited").value
    assert (compared["edited"], compared["missing"]) == ([], [])
    ours = ("charter.yaml", "contract.yaml", "OWNERS", "docs/data-d", "docs/cl", "ops/kubernetes/ov", ".copier-answers")
    files = execute(tmp_path / "pilot", "git", "ls-files").splitlines()
    theirs = [name for name in files if not name.startswith((*ours, "src/use_case", "tests/use_case"))]
    assert compared["compared"] == len(theirs) > 180
    owner = answers.get("decision_owner", "")
    assert row.fact("owner").value == (
        {"name": owner[: owner.index(" @")], "handle": owner[owner.index("@") + 1 :]} if owner else None
    )


@pytest.mark.parametrize(
    ("day0", "decisions", "day", "decision", "to_do"),
    [
        ("2026-12-01", [], "starts on 2026-12-01", "none yet", []),
        ("2026-08-30", [], "90 of 90", "none yet", []),
        ("2026-08-29", [], "91 of 90", "none yet", ["decision overdue by 1 day"]),
        ("2026-08-29", ["extend"], "91 of 120", "extend on 2026-11-20", []),
        ("2026-07-29", ["extend"], "122 of 120", "extend on 2026-11-20", ["decision overdue by 2 days"]),
        ("2026-07-29", ["extend", "scale"], "122, decided", "scale on 2026-11-20", []),
        ("soon", [], "not started", "none yet", []),
    ],
)
def test_day_and_decision(
    day0: str, decisions: list[str], day: str, decision: str, to_do: list[str], made: Callable[..., Path]
) -> None:
    project = made(day0=day0)
    if decisions:
        record = {"decisions": [{"on": "2026-11-20", "outcome": outcome, "by": ["a", "b"]} for outcome in decisions]}
        write(project, {"decision-record.yaml": yaml.safe_dump(record)})
        commit(project)
    [row] = read(project)
    assert (texts(row)["day"], texts(row)["decision"], row.to_do) == (day, decision, to_do)


@pytest.mark.parametrize(
    ("decision", "to_do"),
    [
        ("{name: TBD, handle: TBD}", "no owner of the decision"),
        ("TBD", "no owner of the decision"),
        ("{name: Ada, handle: ada, until: 2026-11-27}", "the decision owner's appointment ended on 2026-11-27"),
    ],
)
def test_an_owner_who_cannot_answer_needs_attention(decision: str, to_do: str, made: Callable[..., Path]) -> None:
    project = made()
    write(project, {"OWNERS": f"accountable: {{decision: {decision}}}\n"})
    commit(project)
    assert read(project)[0].to_do == [to_do]


def test_an_update_that_waits_on_a_branch_is_told(made: Callable[..., Path]) -> None:
    project = made(version="v0.1.0")
    execute(project, "git", "checkout", "--quiet", "-b", "another")
    write(project, {"notes.md": "no update\n"})
    commit(project)
    execute(project, "git", "checkout", "--quiet", "-b", "renovate/groundwork")
    copier.run_update(project, vcs_ref="v0.2.0", defaults=True, overwrite=True, quiet=True, unsafe=False)
    commit(project)
    execute(project, "git", "checkout", "--quiet", "-b", "older")
    execute(project, "git", "checkout", "--quiet", "master")
    [row] = read(project)
    assert texts(row)["version"].startswith("0.1.0, ")
    assert {each["branch"] for each in row.fact("update").value} == {"renovate/groundwork", "older"}
    execute(project, "git", "merge", "--quiet", "renovate/groundwork")
    assert texts(read(project)[0])["update"] == "none"


def test_a_pilot_in_a_folder_of_a_larger_repository(made: Callable[..., Path], tmp_path: Path) -> None:
    project = made("teams/late")
    (tmp_path / "teams/late/.git").rename(tmp_path / "old")
    write(tmp_path / "teams", {"other/README.md": "another team's\n"})
    commit(tmp_path / "teams")
    execute(tmp_path / "teams", "git", "config", "uploadpack.allowFilter", "true")
    execute(tmp_path / "teams", "git", "checkout", "--quiet", "--orphan", "pages")
    execute(tmp_path / "teams", "git", "rm", "--quiet", "-r", "--cached", "late")
    execute(tmp_path / "teams", "git", "-c", "commit.gpgsign=false", "commit", "--quiet", "--message", "No pilot")
    execute(tmp_path / "teams", "git", "checkout", "--quiet", "--force", "master")
    by_path, by_folder, none = read(
        project,
        Entry(repository=f"file://{tmp_path}/teams", folder="late"),
        Entry(repository=str(tmp_path / "teams"), folder="nowhere"),
    )
    assert texts(by_path)["edited"] == texts(by_folder)["edited"] == "none"
    assert none.problem == "is no pilot: there is no folder nowhere"


def test_uncommitted_changes_do_not_count(made: Callable[..., Path]) -> None:
    project = made()
    write(project, {"src/system.py": "", "OWNERS": ""})
    assert read(project)[0].to_do == []


# ---- repositories that cannot be read ------------------------------------------------------------------------------


def test_a_repository_over_http_is_read_like_one_on_this_machine(made: Callable[..., Path], tmp_path: Path) -> None:
    project = made(version="v0.2.0")
    execute(project, "git", "checkout", "--quiet", "-b", "update")
    copier.run_update(project, defaults=True, overwrite=True, quiet=True, unsafe=False)
    commit(project)
    execute(project, "git", "checkout", "--quiet", "master")
    write(project, {"src/system.py": "ours\n"})
    commit(project)
    with git_over_http(tmp_path) as address:
        there, here = read(f"{address}/pilot/.git", project)
    assert there.facts == here.facts
    assert len(there.to_do) == 3


@pytest.mark.parametrize("allowed", ["true", "false"])
def test_a_large_file_is_no_burden(allowed: str, made: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is a server that cannot leave it out."""
    project = made()
    execute(project, "git", "config", "uploadpack.allowFilter", allowed)
    (project / "large.bin").write_bytes(os.urandom(git.LARGEST + 1))
    commit(project)
    [row] = read(f"file://{project}")
    assert row.to_do == []
    assert texts(row)["edited"] == "none"


def test_passwords_are_never_shown(made: Callable[..., Path], tmp_path: Path) -> None:
    made()
    with git_over_http(tmp_path, "ada:s3cret") as address:
        host = address.removeprefix("http://")
        known, wrong = f"http://ada:s3cret@{host}/pilot/.git", f"http://ada:wr0ng@{host}/pilot/.git"
        done = command("--json", known, wrong)
    assert not re.search("s3cret|wr0ng", done.stdout + done.stderr)
    found = json.loads(done.stdout)["pilots"]
    assert found[0]["problem"] is None
    assert found[0]["repository"] == f"{address}/pilot/.git"
    assert found[1]["problem"].startswith("cannot be read: Authentication failed")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (
            "http://127.0.0.1:9/pilot.git",
            "Failed to connect|Couldn't connect",
        ),  # the port of `discard`, which nobody runs
        ("https://nowhere.invalid/pilot.git", "Could not resolve host"),
        ("file:///nowhere/pilot.git", "does not appear to be a git repository"),
        ("ext::sh -c 'touch /tmp/never' ://", "transport 'ext' not allowed"),
        ("/nowhere/pilot", "there is no folder /nowhere/pilot"),
        ("/", "not a git repository"),
    ],
)
def test_a_repository_that_cannot_be_reached_says_why(url: str, reason: str) -> None:
    [row] = read(url)
    assert re.search(reason, row.problem), row.problem
    assert row.problem.startswith("cannot be read: ")
    assert set(texts(row).values()) == {"unknown"}
    assert all(row.fact(column).unknown for column in COLUMNS)


def test_a_hanging_server_holds_up_no_other(made: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/pilot.git"
        *hanging, fine = read(*[url] * 3, made())
    assert {row.problem for row in hanging} == {"cannot be read: no answer within 1 s"}
    assert fine.to_do == []
    running = execute(ROOT, "ps", "-eo", "args")
    assert url not in running


NO_PILOTS = {
    "nothing": ({"README.md": ""}, "it has no .copier-answers.yml"),
    "broken": ({".copier-answers.yml": "_commit: [v0.1.0\n"}, ".copier-answers.yml is not valid YAML: "),
    "a list": ({".copier-answers.yml": "- 1\n"}, ".copier-answers.yml names no template"),
    "another's": ({".copier-answers.yml": "_src_path: gh:a/b\n"}, "made from another template, gh:a/b"),
    "two": ({".copier-answers.a.yml": "", ".copier-answers.b.yml": ""}, "it has several answers files"),
    "binary": ({".copier-answers.yml": "\0\0"}, ".copier-answers.yml is not valid YAML"),
}


@pytest.mark.parametrize(("files", "reason"), NO_PILOTS.values(), ids=NO_PILOTS)
def test_a_repository_that_is_no_pilot_says_why(files: dict[str, str], reason: str, tmp_path: Path) -> None:
    write(tmp_path, files)
    commit(tmp_path)
    assert read(tmp_path)[0].problem.startswith(f"is no pilot: {reason}")


def test_an_empty_repository_says_so(tmp_path: Path) -> None:
    execute(tmp_path, "git", "init", "--quiet")
    here, there = read(tmp_path, f"file://{tmp_path}")
    assert here.problem.startswith("cannot be read: ")
    assert there.problem.startswith("cannot be read: ")


DAMAGED = {
    "charter.yaml": [
        "",
        "[]",
        "plan: 1",
        "plan: {day0: [1]}",
        "a: [",
        "plan: {day0: 9999-12-31}",
        "metadata: {title: []}",
    ],
    "OWNERS": ["", "accountable: []", "accountable: {decision: {name: [], handle: {}}}", "\t"],
    "decision-record.yaml": [
        "",
        "decisions: 1",
        "decisions: [1]",
        "decisions: [{outcome: [1]}]",
        "&a [*a]",
        "decisions: &a [*a]",
    ],
    ".copier-answers.yml": [
        "_src_path: {src}",
        "_src_path: {src}\nproject_name: [1]\n_commit: 5",
        '_src_path: {src}\n_commit: "a\\0b"',
        "_src_path: {src}\n_commit: --output=x",
        "_src_path: {src}\n_commit: v0.3.0\nci: {{}}",
        "_src_path: [1]\n_commit: v0.3.0",
    ],
}


def test_a_damaged_document_costs_no_other_fact(small: Path, made: Callable[..., Path]) -> None:
    cases = [(name, text) for name, each in DAMAGED.items() for text in each]
    projects = []
    for number, (name, text) in enumerate(cases):
        project = made(str(number), day0="2026-11-18")
        write(project, {name: text.format(src=small) if name == ".copier-answers.yml" else text})
        commit(project)
        projects.append(project)
    *rows, untouched = read(*projects, made("untouched", day0="2026-11-18"))
    assert (untouched.to_do, texts(untouched)["day"]) == ([], "10 of 90")
    for (name, text), row in zip(cases, rows, strict=True):
        assert row.problem == "", (name, text)
        if name != "charter.yaml":
            assert texts(row)["day"].startswith("10"), (name, text)
        if name != "OWNERS":
            assert texts(row)["owner"] == "Ada", (name, text)
    assert {texts(row)["owner"] for (name, _), row in zip(cases, rows, strict=True) if name == "OWNERS"} == {"unknown"}
    assert show.html(rows, NOW)
    assert show.as_json(rows, NOW)


def test_without_a_template_the_rest_is_shown(made: Callable[..., Path], tmp_path: Path) -> None:
    [row] = read(made(), template=tmp_path)
    reason = f"the template {tmp_path} cannot be read: not a git repository"
    assert row.fact("version").value["version"] == "0.3.0"
    assert row.fact("version").unknown.startswith(reason)
    assert row.fact("edited").unknown.startswith(reason)


# ---- what services tell --------------------------------------------------------------------------------------------

STATUS = {
    "verdict": "Ready to scale",
    "exit_code": 0,
    "champion": {"version": "7", "live_since": "2026-11-16T08:00:00.000+00:00", "reason": ""},
    "gain_per_1000": {"value": 8920.4, "currency": "EUR", "samples": 1000, "days": 30, "reason": ""},
}
ALERTS = [
    {"labels": {"alertname": "GroundworkErrors", "namespace": "late"}, "state": "firing"},
    {"labels": {"alertname": "GroundworkDrift", "namespace": "late"}, "state": "pending"},
    {"labels": {"alertname": "GroundworkServiceDown", "namespace": "other"}, "state": "firing"},
]


@pytest.fixture
def answers() -> Iterator[dict[str, Any]]:
    """What a service and its Prometheus answer at which path; `address` is theirs, `keys` what was shown to them."""
    told: dict[str, Any] = {"keys": [], "/status": STATUS, "/api/v1/alerts": {"data": {"alerts": ALERTS}}}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told["keys"].append(self.headers.get("Authorization"))
            answer = told.get(self.path)
            code, body = answer if isinstance(answer, tuple) else (200 if answer else 404, answer)
            self.send_response(code)
            if code == 302:
                self.send_header("Location", body)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, format: str, *arguments: object) -> None:
            """Keep quiet."""

    with serving(Handler) as address:
        yield told | {"told": told, "address": address}


def published(answers: dict[str, Any], project: Path, **more: Any) -> Row:
    entry = Entry(repository=str(project), service=answers["address"], prometheus=f"{answers['address']}/")
    [row] = read(replace(entry, **more))
    return row


def test_a_service_tells_verdict_model_and_gain(answers: dict[str, Any], made: Callable[..., Path]) -> None:
    row = published(answers, made(), labels={"namespace": "late"})
    assert {name: row.fact(name).text for name in ("verdict", "champion", "gain", "alerts")} == {
        "verdict": "Ready to scale",
        "champion": "version 7, 12 days",
        "gain": "EUR 8,920 (n = 1,000)",
        "alerts": "GroundworkErrors",
    }
    assert row.to_do == ["alerts firing: GroundworkErrors"]


def test_without_labels_every_alert_counts(answers: dict[str, Any], made: Callable[..., Path]) -> None:
    assert published(answers, made()).fact("alerts").value == ["GroundworkErrors", "GroundworkServiceDown"]


def test_the_key_is_that_of_the_named_variable(
    answers: dict[str, Any], made: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = made()
    assert published(answers, project, key="LATE_KEY").to_do[0].startswith("the environment variable LATE_KEY ")
    monkeypatch.setenv("LATE_KEY", "s3cret")
    assert published(answers, project, key="LATE_KEY").fact("verdict").text == "Ready to scale"
    assert sorted(filter(None, answers["keys"])) == ["Bearer s3cret"]  # only the service sees it


WRONG = {
    "forbidden": ((403, {}), "requires an API key with the scope admin"),
    "failing": ((503, {"detail": "the store is gone"}), "answers with 503: the store is gone"),
    "moved": ((302, "http://127.0.0.1:1/"), "answers with 302"),
    "older": (None, "has no page /status"),
    "a list": ([1], "something else than the status"),
    "text": ({**STATUS, "champion": "x"}, "something else than the status"),
    "no time": ({**STATUS, "champion": {"version": "1", "live_since": "x", "reason": ""}}, "something else than"),
    "large": ("x" * (service.LARGEST + 1), "answers with more than a status"),
}


@pytest.mark.parametrize(("answer", "reason"), WRONG.values(), ids=WRONG)
def test_a_service_that_does_not_answer_needs_attention(
    answer: Any, reason: str, answers: dict[str, Any], made: Callable[..., Path]
) -> None:
    answers["told"]["/status"] = answers["told"]["/api/v1/alerts"] = answer
    row = published(answers, made())
    assert reason in row.fact("verdict").unknown
    assert [row.fact(name).text for name in ("verdict", "champion", "gain", "alerts")] == ["unknown"] * 4
    assert len(row.to_do) == 2


def test_a_figure_that_the_service_does_not_know_is_unknown(answers: dict[str, Any], made: Callable[..., Path]) -> None:
    answers["told"]["/status"] = {
        **STATUS,
        "champion": {"version": None, "live_since": None, "reason": "the registry did not answer"},
        "gain_per_1000": {**STATUS["gain_per_1000"], "value": None, "reason": "no outcome yet"},  # type: ignore[dict-item]
    }
    row = published(answers, made(), labels={"namespace": "third"})
    assert (row.fact("champion").text, row.fact("champion").unknown) == ("none", "the registry did not answer")
    assert (row.fact("gain").text, row.fact("gain").unknown) == ("unknown", "no outcome yet")
    assert row.to_do == []


def test_a_silent_service_holds_up_no_other(made: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        [row] = read(Entry(repository=str(made()), service=address, prometheus=address))
    assert row.to_do == ["its service does not answer within 0 s", "its Prometheus does not answer within 0 s"]


# ---- the list ------------------------------------------------------------------------------------------------------


def test_a_list_names_pilots_and_template(tmp_path: Path) -> None:
    text = """\
template: https://git.example.com/groundwork.git
pilots:
  - ../late
  - https://git.example.com/orders.git
  - repository: git@git.example.com:large.git
    folder: pilots/stock
    service: https://stock.example.com
    key: STOCK_KEY
    prometheus: https://prometheus.example.com
    labels: {namespace: stock}
"""
    write(tmp_path, {"fleet.yaml": text})
    entries, template = listing.read(tmp_path / "fleet.yaml")
    assert template == "https://git.example.com/groundwork.git"
    assert [entry.repository for entry in entries] == [
        str(tmp_path / "../late"),
        "https://git.example.com/orders.git",
        "git@git.example.com:large.git",
    ]
    assert entries[2].labels == {"namespace": "stock"}
    assert entries[2].shown == "git@git.example.com:large.git (pilots/stock)"


def test_the_list_of_the_how_to_can_be_read(tmp_path: Path) -> None:
    page = (ROOT / "docs/how-to/maintain-a-fleet.md").read_text(encoding="utf-8")
    [text] = re.findall(r"^```yaml\n(template:.*?)^```", page, re.MULTILINE | re.DOTALL)
    write(tmp_path, {"fleet.yaml": text})
    entries, _ = listing.read(tmp_path / "fleet.yaml")
    assert entries[1].labels == {"namespace": "late-flights"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "`pilots` must be a list"),
        ("pilots: late", "`pilots` must be a list"),
        ("pilots: []\nservice: x", "service: unknown"),
        ("pilots: [{folder: x}]", "pilot 1: must be a repository"),
        ("pilots: [a, {repository: x, sevrice: y}]", "pilot 2: sevrice: unknown"),
        ("pilots: [{repository: x, service: example.com}]", "service must begin with http"),
        ("pilots: [{repository: x, labels: y}]", "labels must be a mapping"),
        ("pilots: [{repository: [x]}]", "repository must be a text"),
        ("pilots: [", "cannot be read"),
    ],
)
def test_a_list_with_a_mistake_is_refused_with_its_place(text: str, reason: str, tmp_path: Path) -> None:
    write(tmp_path, {"fleet.yaml": text})
    with pytest.raises(listing.ListError, match=re.escape(reason)):
        listing.read(tmp_path / "fleet.yaml")


# ---- the command and its page --------------------------------------------------------------------------------------


def test_exit_codes_tell_whether_somebody_is_needed(made: Callable[..., Path]) -> None:
    fine, behind = str(made()), str(made("behind", version="v0.1.0"))
    done = command(fine)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Attention needed: 0 of 1 pilot\n")
    assert command(fine, behind).returncode == 1
    assert command(fine, "/nowhere").returncode == 1
    assert command().returncode == 2
    assert command("--list", "/nowhere/fleet.yaml").returncode == 2
    assert command(fine, "--html", "/nowhere/fleet.html").returncode == 2


def test_json_tells_programs_why(made: Callable[..., Path]) -> None:
    told = json.loads(command("--json", str(made(version="v0.2.0")), "/nowhere").stdout)
    assert [each["name"] for each in told["pilots"]] == ["New pilot", "nowhere"]
    assert set(told["pilots"][0]["facts"]) == set(COLUMNS)
    for each in told["pilots"]:
        for fact in each["facts"].values():
            assert fact["unknown"] or fact["text"] != "unknown"


def test_a_name_can_neither_colour_nor_move_the_terminal(made: Callable[..., Path]) -> None:
    project = made()
    write(project, {"charter.yaml": 'metadata: {title: "a\\e[2J\\e[31mb [red]c\\u202ed"}\nplan: {day0: TBD}\n'})
    commit(project)
    done = command(str(project), FORCE_COLOR="1")
    assert "\x1b[2J" not in done.stdout
    assert "\u202e" not in done.stdout
    assert "[red]c" in done.stdout


def test_the_page_escapes_what_it_shows(made: Callable[..., Path], tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
    project = made(project_name=evil, owner=evil)
    write(project, {"src/system.py": "", "docs/<b>x.md": ""})
    commit(project)
    execute(project, "git", "branch", "--", "x<b>")
    command(str(project), "/nowhere/<b>x", "--html", str(tmp_path / "fleet.html"))
    page = (tmp_path / "fleet.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;" in page
    assert not re.search(r"<script|<img|<b>|onerror=(?!alert\(1\)&gt;)", page)
    assert not re.search(r"(src|href|url|@import)\W+(https?:)?//", page)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_everybody_can_read_the_page(
    width: int,
    scheme: str,
    answers: dict[str, Any],
    made: Callable[..., Path],
    tmp_path: Path,
    opened: Callable[..., Any],
) -> None:
    """`SCREENSHOTS=FOLDER` keeps the pictures; the how-to shows one of them."""
    late, orders = (
        made("late", project_name="Late flights", day0="2026-11-03"),
        made("orders", version="v0.1.0", project_name="Orders at risk of a late delivery", day0="2026-08-20"),
    )
    write(orders, {"src/system.py": "ours\n"})
    commit(orders)
    rows = [
        published(answers, late, labels={"namespace": "nowhere"}),
        published(answers, orders, labels={"namespace": "late"}),
        *read(made("stock", project_name="Stock", day0="2026-12-01"), "https://git.example.invalid/returns.git"),
    ]
    shown = [replace(row, repository=f"https://git.example.invalid/{row.name.split()[0].lower()}.git") for row in rows]
    page_file = tmp_path / "fleet.html"
    page_file.write_text(show.html(shown, NOW), encoding="utf-8")
    page = opened(page_file.as_uri(), width, page_file.as_uri(), color_scheme=scheme)
    assert page.locator("h1").inner_text() == page.title().removeprefix("Pilots: ")
    assert page.locator("tbody tr").count() == 4
    assert page.locator("tbody th").first.inner_text().startswith("returns")
    name = f"fleet{'' if width == WIDTHS['desk'] else '-phone'}{'' if scheme == 'light' else '-dark'}.png"
    picture = Path(os.environ.get("SCREENSHOTS") or tmp_path) / name
    page.screenshot(path=picture, full_page=True)
    assert picture.stat().st_size > 10_000
    assert page.evaluate(HARD_TO_READ) == []
    assert fits(page)


@pytest.mark.slow
def test_it_is_installed_from_the_templates_repository_alone(
    template: Path, made: Callable[..., Path], tmp_path: Path
) -> None:
    """By the commands of the how-to."""
    made()
    (tmp_path / "fleet.yaml").write_text("pilots: [pilot]\n")
    for source in (f"git+file://{template}#subdirectory=fleet", str(template / "fleet")):
        run = ["uvx", "--quiet", "--from", source, "groundwork-fleet", "--list", "fleet.yaml"]
        told = json.loads(execute(tmp_path, *run, "--json"))
        assert told["summary"] == "Attention needed: 0 of 1 pilot"
        execute(tmp_path, *run, "--html", "fleet.html")
        assert "New pilot" in (tmp_path / "fleet.html").read_text(encoding="utf-8")


def test_facts_without_a_column_are_unknown() -> None:
    row = Row(repository="x", name="x", facts={"day": Fact(text="3 of 90")})
    assert row.fact("owner").unknown == "not read"
