"""Write the JSON Schemas of the three documents from the classes that read them. Run with template/src on the path."""

import json
from pathlib import Path

from groundwork.documents.charter import Charter
from groundwork.documents.contract.contract import Contract
from groundwork.documents.document import Document
from groundwork.documents.owners import Owners

FOLDER = Path(__file__).parent.parent / "template" / "src" / "groundwork" / "schemas"
DOCUMENTS: dict[str, type[Document]] = {"charter": Charter, "contract": Contract, "owners": Owners}


def schema(document: type[Document]) -> str:
    described = {"$schema": "https://json-schema.org/draft/2020-12/schema"} | document.model_json_schema()
    return json.dumps(described, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, document in DOCUMENTS.items():
        (FOLDER / f"{name}.json").write_text(schema(document), encoding="utf-8")
