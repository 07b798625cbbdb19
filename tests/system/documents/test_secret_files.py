"""Secrets that could be guessed are refused before a container sees them, and by each container."""

import re
from pathlib import Path

import pytest
from groundwork.core.errors import DocumentError
from groundwork.documents import secret_files

TEMPLATE = Path(__file__).parents[3] / "template"


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    folder = tmp_path / "secrets"
    folder.mkdir()
    for name in ("postgres_password", "s3_secret", "admin_key"):
        (folder / name).write_text("k" * 43, encoding="utf-8")
    (folder / "source_url").write_text("", encoding="utf-8")  # empty is the example's own system
    return folder


def test_long_secrets_pass_and_a_pilot_without_any_too(secrets: Path) -> None:
    assert secret_files.check(secrets.parent)
    assert not secret_files.check(secrets)


@pytest.mark.parametrize("name", ["postgres_password", "s3_secret", "admin_key"])
@pytest.mark.parametrize("value", ["", "postgres", "changeme\n", "k" * 19 + "\n"])
def test_a_default_is_refused(secrets: Path, name: str, value: str) -> None:
    (secrets / name).write_text(value, encoding="utf-8")
    with pytest.raises(DocumentError, match=rf"^secrets/{name}: has fewer than 20 characters, so it can be guessed\n"):
        secret_files.check(secrets.parent)


def test_the_containers_refuse_what_check_does() -> None:
    script = (TEMPLATE / "ops/compose/with-secrets.sh").read_text(encoding="utf-8")
    assert re.findall(r"-lt (\d+)", script) == [str(secret_files.SHORTEST)]
