"""A small template with Groundwork's ownership, released twice, and pilots made of it."""

import os
import subprocess
from pathlib import Path
from typing import Any

import copier
import yaml

LINE = "# ---- Above: the template's, brought up to date by `copier update`. Below: yours. ----\n"
FIRST, SECOND = "v0.1.0", "v0.2.0"
DAYS = {FIRST: "2026-01-01T12:00:00Z", SECOND: "2026-01-15T12:00:00Z", "v0.3.0rc1": "2026-01-16T12:00:00Z"}
ANSWERS = ".copier-answers.yml"
FILES = {
    "copier.yml": """\
_subdirectory: template
_skip_if_exists: [charter.yaml, OWNERS, docs/data-dictionary.md, src/use_case]
_exclude:
  - "{{ 'docs/data-dictionary.md' if _copier_operation == 'update' }}"
project_name: {type: str, default: Pilot}
decision_owner: {type: str, default: ''}
""",
    "template/{{_copier_conf.answers_file}}.jinja": "# Written by Copier\n{{ _copier_answers | to_nice_yaml -}}\n",
    "template/charter.yaml.jinja": "name: {{ project_name | to_json }}\n",
    "template/OWNERS": "ada\n",
    "template/docs/data-dictionary.md": "# Columns\n",
    "template/README.md.jinja": f"# {{{{ project_name }}}}\n\nRun it.\n\n{LINE}",
    "template/.gitignore": f"/data/\n__pycache__/\n\n{LINE}",
    "template/ruff.toml": "line-length = 120\n",
    "template/mypy.ini": "[mypy]\nstrict = True\n",
    "template/src/groundwork/loop.py": "".join(f"step_{number} = {number}\n" for number in range(20)),
    "template/src/use_case/model.py": "model = None\n",
}


def git(folder: Path, *words: str, day: str = DAYS[FIRST]) -> str:
    environment = os.environ | {"GIT_AUTHOR_DATE": day, "GIT_COMMITTER_DATE": day}
    for role in ("AUTHOR", "COMMITTER"):
        environment |= {f"GIT_{role}_NAME": "Ada", f"GIT_{role}_EMAIL": "ada@example.org"}
    command = ["git", "-c", "tag.gpgsign=false", "-c", "commit.gpgsign=false", *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def commit(folder: Path, day: str = DAYS[FIRST]) -> str:
    """Commit everything in the folder, and make it a repository first if it is none; returns the commit."""
    git(folder, "init", "-q")
    git(folder, "add", "--all")
    git(folder, "commit", "-q", "--no-verify", "-m", "Change", day=day)
    return git(folder, "rev-parse", "HEAD").strip()


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def release(folder: Path, version: str) -> None:
    commit(folder, DAYS[version])
    git(folder, "tag", "--annotate", version, "-m", version, day=DAYS[version])


def make_template(folder: Path) -> Path:
    """A template whose second release changes a file, adds one, and drops one; then there is a pre-release."""
    for name, text in FILES.items():
        write(folder, name, text)
    release(folder, FIRST)
    write(folder, "template/ruff.toml", "line-length = 100\n")
    write(folder, "template/src/groundwork/added.py", "added = True\n")
    (folder / "template/mypy.ini").unlink()
    release(folder, SECOND)
    write(folder, "template/ruff.toml", "line-length = 80\n")
    release(folder, "v0.3.0rc1")
    return folder


def make_pilot(template: Path, folder: Path, version: str = FIRST, **options: Any) -> Path:
    """A pilot of the version, committed."""
    copy(str(template), folder, version, {"project_name": "Late flights"}, **options)
    commit(folder)
    return folder


def copy(template: str, folder: Path, version: str, answers: dict[str, Any], **options: Any) -> None:
    copier.run_copy(template, folder, data=answers, vcs_ref=version, defaults=True, quiet=True, **options)


def record(pilot: Path, **values: Any) -> None:
    """Write values into the answers file, as if Copier had recorded them."""
    file = pilot / ANSWERS
    recorded = yaml.safe_load(file.read_text()) | values
    file.write_text("# Written by Copier\n" + yaml.safe_dump(recorded, allow_unicode=True))


def update(pilot: Path, version: str = SECOND) -> None:
    """Update the pilot as Copier does; what is not committed is the update."""
    copier.run_update(pilot, vcs_ref=version, defaults=True, overwrite=True, quiet=True)
