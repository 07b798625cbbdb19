"""The page at /docs: the OpenAPI document as a person reads it, with everything it needs in itself.

The usual one loads its scripts from another machine, and stays blank where there is no way out.
"""

import json
from html import escape
from string import Template
from typing import Any

PAGE = Template("""\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>$title</title>
<style>
  :root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
  body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
  h2 { margin-top: 3rem; border-bottom: 1px solid #8888; font-size: 1.2rem }
  code, pre, textarea { font: 0.85rem/1.5 ui-monospace, monospace }
  pre, textarea { box-sizing: border-box; width: 100%; padding: 0.7rem; background: #8881; border: 1px solid #8884 }
  pre { white-space: pre-wrap; overflow-wrap: anywhere }
  h2 code { font-size: 1.1rem }
  td, code { overflow-wrap: anywhere }
  table { border-collapse: collapse; width: 100%; margin: 1rem 0; font-size: 0.9rem }
  td, th { padding: 0.25rem 1rem 0.25rem 0; border-bottom: 1px solid #8883; text-align: left; vertical-align: top }
  button { padding: 0.3rem 1rem; font: inherit }
</style>
<h1>$title</h1>
<p>$description</p>
<p>Version $version of the contract. For programs: <a href="openapi.json">openapi.json</a>.</p>
$operations
<script>
  for (const form of document.forms)
    form.onsubmit = async event => {
      event.preventDefault()
      const {method, path} = form.dataset
      const sent = method === "POST" ? {method, body: form.elements.body.value} : {}
      const said = form.querySelector("pre")
      try {
        const answer = await fetch(path.slice(1), sent)
        const text = await answer.text()
        let shown = text
        try { shown = JSON.stringify(JSON.parse(text), null, 2) } catch {}
        said.textContent = answer.status + " " + answer.statusText + "\\n" + shown
      } catch (error) { said.textContent = error }
      said.hidden = false
    }
</script>
""")


def page(api: dict[str, Any]) -> str:
    """The OpenAPI document `api` as HTML; each operation can be tried."""
    operations = [
        _operation(method.upper(), path, operation, api["components"]["schemas"])
        for path, methods in sorted(api["paths"].items(), key=lambda each: each[0] != "/predict")
        for method, operation in methods.items()
    ]
    about = {name: escape(api["info"].get(name, "")) for name in ("title", "description", "version")}
    return PAGE.substitute(about, operations="\n".join(operations))


def _operation(method: str, path: str, operation: dict[str, Any], schemas: dict[str, Any]) -> str:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    body, fields = "", ""
    if content:
        example = escape(json.dumps(content["example"], indent=2, ensure_ascii=False))
        body = f'<textarea name="body" rows="{example.count(chr(10)) + 1}">{example}</textarea>'
        fields = "".join(_fields(name, schemas) for name in _mentioned(content["schema"], schemas))
    answers = "".join(
        f"<tr><td><code>{status}</code><td>{escape(answer['description'])}"
        for status, answer in sorted(operation["responses"].items())
    )
    return (
        f"<h2><code>{method} {escape(path)}</code></h2>"
        f"<p><strong>{escape(operation.get('summary', ''))}</strong></p>"
        f"<p>{escape(operation.get('description', ''))}</p>"
        f"{fields}<table><tr><th>Status<th>Means{answers}</table>"
        f'<form data-method="{method}" data-path="{escape(path)}"><p>{body}</p>'
        "<button>Send</button><pre hidden></pre></form>"
    )


def _mentioned(schema: Any, schemas: dict[str, Any]) -> list[str]:
    """The names of the schemas that are referred to, and of those that these refer to."""
    if isinstance(schema, list):
        return [name for each in schema for name in _mentioned(each, schemas)]
    if not isinstance(schema, dict):
        return []
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return [name, *_mentioned(schemas[name], schemas)]
    return _mentioned(list(schema.values()), schemas)


def _fields(name: str, schemas: dict[str, Any]) -> str:
    schema = schemas[name]
    rows = "".join(
        f"<tr><td><code>{escape(field)}</code><td>{_kind(about)}"
        f"<td>{'required' if field in schema.get('required', []) else ''}<td>{escape(about.get('description', ''))}"
        for field, about in schema.get("properties", {}).items()
    )
    return f"<h3>{escape(name)}</h3><table><tr><th>Field<th>Type<th><th>Meaning{rows}</table>"


def _kind(schema: dict[str, Any]) -> str:
    """What a value must be, in a few words."""
    if "$ref" in schema:
        return escape(schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        return " or ".join(_kind(each) for each in schema["anyOf"])
    if "enum" in schema:
        return escape(", ".join(map(str, schema["enum"])))
    kind = schema.get("format") or schema.get("type", "")
    if kind == "array":
        return f"list of {_kind(schema['items'])}"
    names = {"minimum": "from", "maximum": "to", "minLength": "at least", "maxLength": "at most"}
    limits = [f"{word} {schema[name]:g}" for name, word in names.items() if name in schema]
    unit = " characters" if kind == "string" and limits else ""
    return escape(" ".join([str(kind), *limits]) + unit)
