"""The programs to copy send the contract's own record, whatever is in its examples."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from groundwork.documents.contract.contract import Contract
from groundwork.documents.publish.client_examples import render
from pilots import ROOT

ORDERS = ROOT / "tests/orders/contract.yaml"
HOSTILE = 'O\'Brien "Ø" $HOME `id` \\n {x} | </script>\t\n```'


@pytest.fixture
def sent() -> Iterator[list[Any]]:
    """What a service on a free port was sent: the port first."""
    received: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            body = b'{"predictions": [{"decision": "send", "score": 0.5, "prediction_id": "x"}]}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Be silent."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    received.append(server.server_port)
    yield received
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("language", ["sh", "python", "js"])
@pytest.mark.parametrize("text", ["DE", HOSTILE])
def test_a_client_sends_the_examples_of_its_contract(language: str, text: str, sent: list[Any], tmp_path: Path) -> None:
    interpreter = {"sh": shutil.which("bash"), "python": sys.executable, "js": shutil.which("node")}[language]
    if interpreter is None or (language == "sh" and not shutil.which("curl")):
        pytest.skip(f"there is nothing here that runs {language}")
    contract = Contract.parse(ORDERS.read_text(encoding="utf-8"), "contract.yaml")
    columns = [
        column.model_copy(update={"examples": (text,)}) if column.name == "country" else column
        for column in contract.dataset.columns
    ]
    dataset = contract.dataset.model_copy(update={"columns": tuple(columns)})
    page = render(contract.model_copy(update={"datasets": (dataset,)}))
    assert "flight" not in page
    [program] = re.findall(rf"^```{language}\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    file = tmp_path / f"client.{'mjs' if language == 'js' else language}"
    file.write_text(program.replace("127.0.0.1:8000", f"127.0.0.1:{sent[0]}"), encoding="utf-8")
    environment = os.environ | {"GROUNDWORK_KEY": "", "no_proxy": "127.0.0.1"}
    done = subprocess.run([interpreter, file], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    record = {
        "order_id": "o-1",
        "customer": 2**53 + 1,
        "ordered_at": "2026-01-01T00:00:00",
        "country": text,
        "amount": 12.5,
        "express": True,
        "kilograms": 2.5,
    }
    assert sent[1:] == [{"records": [record]}]
