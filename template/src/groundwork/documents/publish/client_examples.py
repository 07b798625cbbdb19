"""Programs that call the service, to copy: a Markdown page made from the example values in contract.yaml."""

import json
from collections.abc import Callable
from string import Template
from typing import Any

from groundwork.documents.contract.contract import Contract

MAX_SAFE_INTEGER = 2**53 - 1  # of JavaScript


def render(contract: Contract) -> str:
    """Returns the page in Markdown: one record sent by curl, by Python's standard library, and by Node."""
    record = {column.name: column.examples[0] for column in contract.dataset.requested}
    return _PAGE.substitute(
        # In a shell's single quotes, where every character but that quote stands for itself.
        curl=_listed(record, '      "{}": {}', _json).replace("'", "\\u0027"),
        python=_listed(record, '    "{}": {},', _python, ""),
        node=_node(record),
    )


def _node(record: dict[str, Any]) -> str:
    """Returns the lines that make the request's body: as text if it has an integer that JavaScript cannot hold."""
    if any(isinstance(value, int) and abs(value) > MAX_SAFE_INTEGER for value in record.values()):
        text = json.dumps(_json({"records": [record]}), ensure_ascii=False)
        return f"// As text: numbers of JavaScript are exact only up to 2^53.\nconst body = {text};"
    lines = _listed(record, "  {}: {},", _json, "")
    return f"const record = {{\n{lines}\n}};\nconst body = JSON.stringify({{ records: [record] }});"


def _listed(record: dict[str, Any], line: str, write: Callable[[Any], str], between: str = ",") -> str:
    return f"{between}\n".join(line.format(name, write(value)) for name, value in record.items())


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _python(value: Any) -> str:
    return repr(value) if isinstance(value, bool) else _json(value)


_PAGE = Template("""\
# Call the service

Three examples to copy. Each sends one record, with the example values of `contract.yaml`, and prints the decision.
`http://127.0.0.1:8000/docs` describes every field and can send a request. `groundwork dictionary` writes this page;
edit `contract.yaml` instead.

A service that listens on a network needs an API key: `uv run groundwork key NAME predict` makes one. Pass it to these
clients in the environment variable `GROUNDWORK_KEY`. On your own machine it may be empty.

## curl

```sh
curl --fail-with-body --silent --show-error http://127.0.0.1:8000/predict \\
  --header "Authorization: Bearer $$GROUNDWORK_KEY" \\
  --header "Content-Type: application/json" \\
  --data '{
    "records": [{
$curl
    }]
  }'
```

## Python

```python
import json
import os
import urllib.error
import urllib.request

record = {
$python
}
request = urllib.request.Request(
    "http://127.0.0.1:8000/predict",
    json.dumps({"records": [record]}).encode(),
    {"Authorization": f"Bearer {os.environ.get('GROUNDWORK_KEY', '')}", "Content-Type": "application/json"},
)
try:
    with urllib.request.urlopen(request, timeout=10) as response:
        for prediction in json.load(response)["predictions"]:
            print(prediction["decision"], prediction["score"], prediction["prediction_id"])
except urllib.error.HTTPError as error:
    raise SystemExit(json.load(error)["detail"])
```

## Node

```js
$node
const response = await fetch("http://127.0.0.1:8000/predict", {
  method: "POST",
  headers: { Authorization: `Bearer $${process.env.GROUNDWORK_KEY ?? ""}`, "Content-Type": "application/json" },
  body,
  signal: AbortSignal.timeout(10_000),
});
const answer = await response.json();
if (!response.ok) throw new Error(answer.detail);
for (const { decision, score, prediction_id } of answer.predictions) console.log(decision, score, prediction_id);
```

Keep each `prediction_id`. When the outcome is known, send both to `POST /outcomes`. An error is a
[problem document](https://www.rfc-editor.org/rfc/rfc9457): `detail` names the record and the field. After a 503, try
again after the seconds in `Retry-After`.
""")
