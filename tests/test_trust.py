"""Nobody has to trust the template: copying and updating run nothing, unless a release has a migration.

Nor does a pilot of it give away its secrets.
"""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from copier.errors import UnsafeTemplateError

from support import PYTHON, ROOT, commit, copy, execute, release, update


def test_the_template_asks_to_run_nothing() -> None:
    asked = yaml.safe_load((ROOT / "copier.yml").read_text(encoding="utf-8"))
    assert {"_tasks", "_jinja_extensions", "_external_data"} & asked.keys() == set()
    assert all("version" in migration for migration in asked["_migrations"])  # another would be run in every update


def test_copy_and_update_need_no_trust(template: Path, tmp_path: Path) -> None:
    """The helpers copy and update without trust, and Copier refuses where trust is needed."""
    source, project = tmp_path / "template", tmp_path / "pilot"
    execute(tmp_path, "git", "clone", "--quiet", str(template), str(source))
    copy(source, project)
    commit(project)
    (source / "template/ruff.toml").write_text("line-length = 99\n")
    release(source, "v1001.0.0")
    update(project)
    assert (project / "ruff.toml").read_text() == "line-length = 99\n"


def test_a_template_with_a_task_would_be_refused(template: Path, tmp_path: Path) -> None:
    """So the test above can fail."""
    source = tmp_path / "template"
    execute(tmp_path, "git", "clone", "--quiet", str(template), str(source))
    with (source / "copier.yml").open("a") as settings:
        settings.write('\n_tasks: ["true"]\n')
    release(source, "v1001.0.0")
    with pytest.raises(UnsafeTemplateError):
        copy(source, tmp_path / "pilot")


def test_the_command_line_says_what_to_type_next(template: Path, tmp_path: Path) -> None:
    printed = execute(tmp_path, PYTHON, "-m", "copier", "copy", "--defaults", str(template), "it's mine")
    for line in (r"""cd 'it'"'"'s mine'""", "git init", "uv sync", "uv run groundwork up"):
        assert f"\n  {line}" in printed


PLANTED = (
    ".env", ".env.production", "secrets/admin_key", "tls.key", "ops/signing-key.pem", "store.p12", "id_rsa",
    ".ssh/id_ed25519", ".netrc", ".pgpass", ".pypirc", "kubeconfig", "gcp-service-account.json", "aws_credentials.json",
    "data/groundwork.db", "data/signing-key.pem", "data/service.log", "mlruns/0/meta.yaml", "mlflow.db",
)  # fmt: skip


def test_git_adds_no_secret_of_a_pilot(render: Callable[..., Path]) -> None:
    project = render()
    execute(project, "git", "init", "--quiet")
    for name in PLANTED:
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text("s3cr3t")
    execute(project, "git", "add", "--all")
    added = set(execute(project, "git", "ls-files").split())
    assert added & set(PLANTED) == set()
    assert {".env.example", "charter.yaml", "ops/compose/make_secrets.py"} <= added


@pytest.mark.slow
def test_git_adds_nothing_that_a_pilot_wrote_while_it_ran(pilot: Path) -> None:
    added = execute(pilot, "git", "add", "--all", "--dry-run").splitlines()
    assert [line for line in added if line.startswith("add") and "uv.lock" not in line] == []
    assert (pilot / "data").stat().st_mode & 0o077 == 0


def test_the_commit_hook_finds_keys_in_texts(render: Callable[..., Path]) -> None:
    project = render()
    hooks = yaml.safe_load((project / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]
    [secret] = [re.compile(hook["entry"]) for hook in hooks if hook["id"] == "secrets"]
    kinds = ("", "RSA ", "OPENSSH ", "EC ")
    planted = [f"-----BEGIN {kind}PRIVATE KEY-----" for kind in kinds]
    planted += ["id: AKIA" + "IOSFODNN7EXAMPLE", "gh" + "p_" + 36 * "a", "token=glpat-" + 20 * "b"]
    assert [text for text in planted if not secret.search(text)] == []
    written = [path for path in project.rglob("*") if path.is_file()]
    found = [path.name for path in written if secret.search(path.read_text(encoding="utf-8"))]
    assert found == []
