"""Who may import whom: import-linter finds each kind of import that `template/.importlinter` forbids."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pilots import ROOT

PLANTED = {
    "rooms": [("groundwork/core/errors.py", "import groundwork.documents.owners"), ("groundwork/loose.py", "")],
    "use-case": [("use_case/model.py", "import groundwork.core.errors")],
    "prefect": [("groundwork/data/ingest.py", "import prefect"), ("use_case/source.py", "import prefect")],
    "light": [
        ("groundwork/service/answering.py", "def late():\n    import duckdb"),
        ("groundwork/models/serving/bundles.py", "import sklearn"),
        ("groundwork/documents/charter.py", "import pandas"),
        ("groundwork/core/git.py", "import rich"),
    ],
}


def lint(template: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", *options]
    environment = os.environ | {"PYTHONPATH": str(template / "src")}
    return subprocess.run(command, cwd=template, env=environment, capture_output=True, text=True, check=False)


def test_the_code_keeps_to_it() -> None:
    done = lint(ROOT / "template")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("contract", "file", "code"), [(contract, *each) for contract, planted in PLANTED.items() for each in planted]
)
def test_a_planted_import_breaks_its_contract(contract: str, file: str, code: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "template/src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "template/.importlinter", tmp_path)
    with (tmp_path / "src" / file).open("a", encoding="utf-8") as module:
        module.write(f"\n\n{code}\n")
    done = lint(tmp_path, "--contract", contract)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Contracts: 0 kept, 1 broken." in done.stdout or "loose" in done.stdout + done.stderr


def test_the_model_is_imported_when_it_is_trained() -> None:
    """The packages that model.py imports may be missing where nothing is trained, so no module imports it at once."""
    at_once = [
        str(file.relative_to(ROOT))
        for file in (ROOT / "template/src/groundwork").rglob("*.py")
        for line in ast.parse(file.read_bytes()).body
        if isinstance(line, ast.Import | ast.ImportFrom)
        and ast.unparse(line).startswith(("from use_case import model", "from use_case.model", "import use_case.model"))
    ]
    assert at_once == []
