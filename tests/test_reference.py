"""The reference pages that are made from copier.yml and the template's files are those that the script would write."""

import pytest

from support import PYTHON, ROOT, execute

CODE = "import update_reference as u; [print(u.renewed(page.read_text('utf-8')), end='\\0') for page in u.PAGES]"


@pytest.fixture(scope="module")
def renewed() -> list[str]:
    return execute(ROOT / "scripts", PYTHON, "-c", CODE).split("\0")


@pytest.mark.parametrize(("number", "name", "tables"), [(0, "ownership", 1), (1, "questions", 2)])
def test_the_tables_are_as_the_script_writes_them(number: int, name: str, tables: int, renewed: list[str]) -> None:
    page = (ROOT / f"docs/reference/{name}.md").read_text(encoding="utf-8")
    assert page.count("<!-- table: ") == tables
    assert page == renewed[number], "run .venv/bin/python scripts/update_reference.py"
