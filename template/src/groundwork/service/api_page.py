"""The page at /docs: the OpenAPI document for people, in one file.

FastAPI's own page loads its scripts from the internet and stays blank without access to it.
"""

import json
from typing import Any

from groundwork.core import pages
from groundwork.documents.contract.quality import listed


def api_page(api: dict[str, Any]) -> str:
    """Return the OpenAPI document `api` as HTML, with a form to send each request."""
    operations = [
        _operation(method.upper(), path, operation, api["components"]["schemas"])
        for path, methods in sorted(api["paths"].items(), key=lambda each: each[0] != "/predict")
        for method, operation in methods.items()
    ]
    about = {name: api["info"].get(name, "") for name in ("title", "description", "version")}
    return pages.render("service/pages/api.html", info=about, operations=operations)


def _operation(method: str, path: str, operation: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    named = list(dict.fromkeys(_mentioned(content["schema"], schemas))) if content else []
    return {
        "method": method,
        "path": path,
        "summary": operation.get("summary", ""),
        "description": operation.get("description", ""),
        "schemas": [{"name": name, "fields": _fields(schemas[name])} for name in named],
        "responses": sorted(operation["responses"].items()),
        "example": json.dumps(content["example"], indent=2, ensure_ascii=False) if content else "",
    }


def _mentioned(schema: Any, schemas: dict[str, Any]) -> list[str]:
    """Return the names of the referenced schemas, including indirect references."""
    if isinstance(schema, list):
        return [name for each in schema for name in _mentioned(each, schemas)]
    if not isinstance(schema, dict):
        return []
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return [name, *_mentioned(schemas[name], schemas)]
    return _mentioned(list(schema.values()), schemas)


def _fields(schema: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "kind": _kind(about),
            "required": name in schema.get("required", []),
            "description": about.get("description", ""),
        }
        for name, about in schema.get("properties", {}).items()
    ]


def _kind(schema: dict[str, Any]) -> str:
    """Return the type and the limits of a value, in words."""
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        return " or ".join(_kind(each) for each in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(listed(schema["enum"]))
    kind = schema.get("type", "")
    if kind == "string":
        kind = schema.get("format", kind)
    if kind == "array":
        return f"list of {_kind(schema['items'])}"
    names = {"minimum": "from", "maximum": "to", "minLength": "at least", "maxLength": "at most"}
    found = {word: schema[name] for name, word in names.items() if name in schema}
    limits = [f"{word} {bound if isinstance(bound, int) else f'{bound:g}'}" for word, bound in found.items()]
    unit = " characters" if kind == "string" and limits else ""
    return " ".join([str(kind), *limits]) + unit
