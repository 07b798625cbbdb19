"""The JSON Schemas that editors complete from say what the documents' classes read."""

import json
import re
from pathlib import Path

import pytest

from support import ROOT, execute

pytestmark = pytest.mark.soak


def test_the_schemas_are_those_of_the_classes(pilot: Path) -> None:
    code = "import json, update_schemas as u; print(json.dumps({n: u.schema(d) for n, d in u.DOCUMENTS.items()}))"
    said = execute(ROOT / "scripts", str(pilot / ".venv/bin/python"), "-c", code)
    for name, schema in json.loads(said).items():
        shipped = ROOT / "template/src/groundwork/schemas" / f"{name}.json"
        assert shipped.read_text(encoding="utf-8") == schema, "run scripts/update_schemas.py"


def test_the_examples_in_the_charters_comments_are_valid(pilot: Path, tmp_path: Path) -> None:
    """What a team finds there it may use, by taking the comment sign away."""
    head, body = (pilot / "charter.yaml").read_text(encoding="utf-8").split("apiVersion", 1)
    assert head.startswith("#")
    used = re.sub(r"^( *)# (.)", r"\1\2", "apiVersion" + body, flags=re.MULTILINE)
    (tmp_path / "charter.yaml").write_text(used, encoding="utf-8")
    code = (
        "import sys; from pathlib import Path; from groundwork.documents.charter import Charter; "
        "from groundwork.documents.document import unanswered; from groundwork.documents.business_case import returns; "
        "charter = Charter.load(Path(sys.argv[1])); assert returns(charter); print(unanswered(charter))"
    )
    said = execute(tmp_path, str(pilot / ".venv/bin/python"), "-c", code, str(tmp_path / "charter.yaml"))
    assert said.strip() == "[]"
