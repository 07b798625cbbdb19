"""Write the JSON Schemas of the three documents from the classes that read them. Run with template/src on the path."""

import json
from pathlib import Path
from typing import Any

from groundwork.documents.charter import Charter
from groundwork.documents.contract.contract import Contract
from groundwork.documents.document import Document
from groundwork.documents.owners import Owners

FOLDER = Path(__file__).parent.parent / "template" / "src" / "groundwork" / "schemas"
DOCUMENTS: dict[str, type[Document]] = {"charter": Charter, "contract": Contract, "owners": Owners}


def schema(document: type[Document]) -> str:
    """The JSON Schema of a document; each definition, and each property of the document, is one line."""
    described = {"$schema": "https://json-schema.org/draft/2020-12/schema"} | document.model_json_schema()
    parts = []
    for key, value in described.items():
        if key in ("$defs", "properties"):
            inside = ",\n".join(f"    {_line(name)}: {_line(each)}" for name, each in value.items())
            parts.append(f"  {_line(key)}: {{\n{inside}\n  }}")
        else:
            parts.append(f"  {_line(key)}: {_line(value)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, document in DOCUMENTS.items():
        (FOLDER / f"{name}.json").write_text(schema(document), encoding="utf-8")
