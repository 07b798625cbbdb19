"""Cut a release of the template on this machine: `make release VERSION=0.2.0` runs this, and it publishes nothing.

It checks what a release promises, a line each, and changes nothing unless all of it holds. Then it makes two commits.
The first is the release: it has the version, and the changelog has a dated section. The second records the first in
releases.yaml, since no commit can hold its own hash, and opens the next version. The tag is on the first.
"""

import re
import subprocess
import sys
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import yaml
from scan_moves import number, unexplained, unlisted
from steps import scripts

CHANGELOG, RECORD, VERSION = "CHANGELOG.md", "releases.yaml", "template/src/groundwork/__init__.py"
OWNERS = "For project owners"
UNRELEASED = "## [Unreleased]\n"
ASSIGNED = re.compile(r'^__version__ = "(.*)"$', re.MULTILINE)


class Refused(Exception):
    """The release cannot be cut; its text says why."""


def git(root: Path, *command: str) -> str:
    done = subprocess.run(["git", *command], cwd=root, text=True, capture_output=True)
    if done.returncode:
        raise Refused(f"`git {' '.join(command)}` failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout.strip()


def recorded(root: Path) -> list[dict[str, Any]]:
    """The releases in releases.yaml, newest first."""
    read: list[dict[str, Any]] = yaml.safe_load((root / RECORD).read_text(encoding="utf-8"))
    return read


def following(version: str) -> list[str]:
    """The versions that may follow one: the next patch, minor and major version."""
    major, minor, patch = number(version)
    return [f"{major}.{minor}.{patch + 1}", f"{major}.{minor + 1}.0", f"{major + 1}.0.0"]


def owners_lines(section: str) -> list[str]:
    """What a section of the changelog tells the owners of projects, a line for each entry."""
    part = re.search(rf"^### {OWNERS}\n(.*?)(?=^##|\Z)", section, re.MULTILINE | re.DOTALL)
    entries = re.split(r"^- |\n\n", part[1], flags=re.MULTILINE) if part else []
    return [" ".join(entry.split()) for entry in entries if entry.strip()]


def unreleased(root: Path) -> str:
    """The section of the changelog that is to be released, without its heading; empty if there is none."""
    _, _, rest = (root / CHANGELOG).read_text(encoding="utf-8").partition(UNRELEASED)
    return re.split(r"^## ", rest, maxsplit=1, flags=re.MULTILINE)[0]


# ---------------------------------------------------------------- checks ----
# Each returns what is wrong, or nothing.


def tree_is_clean(root: Path, _: str) -> str:
    return git(root, "status", "--porcelain")


def main_is_checked_out(root: Path, _: str) -> str:
    branch = git(root, "branch", "--show-current")
    if branch != "main":
        return f"this is {branch or 'no branch'}"
    published = git(root, "for-each-ref", "--format=%(refname)", "refs/remotes/origin/main")
    behind = published and git(root, "rev-list", "--count", f"HEAD..{published}")
    return f"origin/main has {behind} more commits: git pull" if behind and behind != "0" else ""


def version_is_next(root: Path, version: str) -> str:
    last = recorded(root)[0]["version"]
    allowed = following(last)
    return "" if version in allowed else f"after {last} comes {', '.join(allowed[:2])} or {allowed[2]}"


def version_was_in_development(root: Path, version: str) -> str:
    found = ASSIGNED.findall((root / VERSION).read_text(encoding="utf-8"))
    return "" if found == [f"{version}.dev0"] else f'{VERSION} says {found}, not ["{version}.dev0"]'


def tag_is_free(root: Path, version: str) -> str:
    return f"git tag --delete v{version}, if it was never pushed" if git(root, "tag", "--list", f"v{version}") else ""


def earlier_releases_are_ancestors(root: Path, _: str) -> str:
    wrong = []
    for each in recorded(root):
        try:
            git(root, "merge-base", "--is-ancestor", each["commit"], "HEAD")
        except Refused:
            wrong.append(f"{each['version']} ({each['commit'][:12]}) is none")
        name = f"v{each['version']}"
        if git(root, "tag", "--list", name) and git(root, "rev-parse", f"{name}^{{commit}}") != each["commit"]:
            wrong.append(f"the tag {name} is on another commit than the record says")
    return "; ".join(wrong)


def changelog_is_written(root: Path, _: str) -> str:
    section = unreleased(root)
    if not re.search(r"^- ", section, re.MULTILINE):
        return "[Unreleased] has no entries"
    return (
        ""
        if owners_lines(section)
        else f'[Unreleased] has no "{OWNERS}": write what they must do, or that it is nothing'
    )


def tested_set_is_installed(root: Path, _: str) -> str:
    """The tools of the tests hold a pilot's packages in the versions that the template pins."""
    text = (root / "template/pyproject.toml.jinja").read_text(encoding="utf-8")
    block = re.search(r"^# <tested-set>\n(.*?)^# </tested-set>", text, re.MULTILINE | re.DOTALL)
    pins = tomllib.loads(block[1])["constraint-dependencies"] if block else []
    tested: dict[str, set[str]] = {}
    for pin in pins:
        name, version = pin.partition(";")[0].strip().split("==")
        tested.setdefault(name, set()).add(version)
    installed = re.findall(r"^([a-z0-9-]+)==([^\s;\\]+)", (root / "requirements-dev.txt").read_text(), re.MULTILINE)
    wrong = [f"{name} {version}" for name, version in installed if version not in tested.get(name, {version})]
    return f"requirements-dev.txt has {', '.join(wrong)}: make lock" if wrong else ""


def migrations_are_listed(root: Path, version: str) -> str:
    known = scripts(root / "hooks/migrations").items()
    late = [f"{path.name} is for a later release than this" for each, path in known if each > number(version)]
    return "; ".join([*unlisted(root), *late])


CHECKS = {
    "nothing is uncommitted": tree_is_clean,
    "this is the head of main": main_is_checked_out,
    "the version follows the last release": version_is_next,
    "it is the version under development": version_was_in_development,
    "its tag is free": tag_is_free,
    "the recorded releases are ancestors of this commit": earlier_releases_are_ancestors,
    "the changelog has entries, and says what owners must do": changelog_is_written,
    "the tests run with the tested set": tested_set_is_installed,
    "every migration is listed in copier.yml, and for no later release": migrations_are_listed,
}


# --------------------------------------------------------------- changes ----


def replace(root: Path, name: str, old: str | re.Pattern[str], new: str) -> None:
    """Replace the first place of a text in a file."""
    text = (root / name).read_text(encoding="utf-8")
    pattern = re.compile(re.escape(old)) if isinstance(old, str) else old
    changed, found = pattern.subn(lambda _: new, text, count=1)
    if not found:
        raise Refused(f"{name} has no {pattern.pattern!r}")
    (root / name).write_text(changed, encoding="utf-8")


def write_release(root: Path, version: str, day: date) -> None:
    replace(root, VERSION, ASSIGNED, f'__version__ = "{version}"')
    replace(root, CHANGELOG, UNRELEASED, f"## [{version}] - {day}\n")


def write_record(root: Path, version: str, day: date, lines: list[str]) -> None:
    """Record the commit that is checked out as the release, and open the next minor version."""
    new = {"version": version, "commit": git(root, "rev-parse", "HEAD"), "date": day, "owners": lines}
    text = yaml.safe_dump([new], sort_keys=False, allow_unicode=True, width=118)
    replace(root, RECORD, re.compile(r"^(?=- )", re.MULTILINE), text)
    replace(root, VERSION, ASSIGNED, f'__version__ = "{following(version)[1]}.dev0"')
    replace(root, CHANGELOG, f"## [{version}]", f"{UNRELEASED}\n## [{version}]")


def cut(root: Path, version: str) -> None:
    """Check, test, commit and tag; whatever fails, the repository is as it was."""
    last = recorded(root)[0]
    if version != last["version"]:
        _commit_release(root, version)
        [last, *_] = recorded(root)
    tag = f"v{version}"
    if not git(root, "tag", "--list", tag):
        git(root, "-c", "tag.gpgsign=false", "tag", "--annotate", tag, last["commit"], "--message", tag)
    print(f"\n{version} is recorded, and {tag} is on its commit. Both are on this machine alone. To publish them:\n")
    print(f"  git push --atomic origin main {tag}")


def _commit_release(root: Path, version: str) -> None:
    problems = [_told(name, run(root, version)) for name, run in CHECKS.items()]
    if any(problems):
        raise Refused("Nothing was changed.")
    gone = [found for each in recorded(root) for found in unexplained(root, each)]
    if _told("no file of a release is gone without a migration", "; ".join(gone)):
        raise Refused("Nothing was changed.")
    start, day, lines = git(root, "rev-parse", "HEAD"), date.today(), owners_lines(unreleased(root))
    try:
        write_release(root, version, day)
        if _told("`make test` passes", "see above" if subprocess.run(["make", "test"], cwd=root).returncode else ""):
            raise Refused("Nothing was changed.")
        git(root, "commit", "--quiet", "--message", f"Release {version}", "--", CHANGELOG, VERSION)
        write_record(root, version, day, lines)
        git(root, "commit", "--quiet", "--message", f"{version} is recorded", "--", CHANGELOG, VERSION, RECORD)
    except BaseException:  # Ctrl-C too
        git(root, "reset", "--quiet", "--hard", start)
        raise


def _told(promise: str, problem: str) -> str:
    """Print a line on one promise, and return what is wrong with it."""
    print(f"no  {promise}: {problem}" if problem else f"ok  {promise}", flush=True)
    return problem


if __name__ == "__main__":
    if len(sys.argv) != 2 or not re.fullmatch(r"\d+\.\d+\.\d+", sys.argv[1]):
        raise SystemExit("Name the version, such as: make release VERSION=0.2.0")
    try:
        cut(Path(__file__).parents[1], sys.argv[1])
    except Refused as refused:
        raise SystemExit(f"{refused}") from None
