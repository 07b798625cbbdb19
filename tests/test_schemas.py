"""The JSON Schemas that editors complete from say what the documents' classes read."""

import json
from pathlib import Path

import pytest

from support import ROOT, execute

pytestmark = pytest.mark.slow


def test_the_schemas_are_those_of_the_classes(pilot: Path) -> None:
    code = "import json, update_schemas as u; print(json.dumps({n: u.schema(d) for n, d in u.DOCUMENTS.items()}))"
    said = execute(ROOT / "scripts", str(pilot / ".venv/bin/python"), "-c", code)
    for name, schema in json.loads(said).items():
        shipped = ROOT / "template/src/groundwork/schemas" / f"{name}.json"
        assert shipped.read_text(encoding="utf-8") == schema, "run scripts/update_schemas.py"
