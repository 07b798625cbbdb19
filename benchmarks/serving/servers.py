"""The servers that are compared: how each is started, asked, and understood."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from measure import Server, free_port

HERE = Path(__file__).parent
PYTHON = "3.11"  # of the rivals' environments; not all of them know a later one
QUIET = {
    "BENTOML_DO_NOT_TRACK": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "LITSERVE_DISABLE_TELEMETRY": "true",
}

Record = dict[str, Any]


class Case:
    """What all of them serve and are asked: the pilot's champion and rows, in a folder that only this run uses."""

    def __init__(self, pilot: Path, folder: Path, rows: int) -> None:
        self.pilot = pilot
        self.folder = folder
        self.data = folder / "data"
        self.data.mkdir()
        # A copy, so that nothing is written into the pilot.
        for name in ("mlflow.db", "groundwork.db"):
            with sqlite3.connect(pilot / "data" / name) as source, sqlite3.connect(self.data / name) as copy:
                source.backup(copy)
        shutil.copy(pilot / "data/signing-key.pem", self.data)  # whose models the service trusts
        tracking = {"MLFLOW_TRACKING_URI": f"sqlite:///{self.data / 'mlflow.db'}"}
        self.in_pilot(["prepare.py", str(folder), str(rows)], tracking)
        said = json.loads((folder / "case.json").read_text(encoding="utf-8"))
        self.model = said["model"]
        self.records: list[Record] = said["records"]
        self.scores: list[float] = said["scores"]
        self.features: dict[str, str] = said["features"]

    def environment(self, **more: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("GROUNDWORK_", "MLFLOW_"))}
        kept.pop("VIRTUAL_ENV", None)
        return kept | QUIET | {"OMP_NUM_THREADS": "1"} | more

    @property
    def python(self) -> Path:
        return self.pilot / ".venv/bin/python"

    def in_pilot(self, arguments: Sequence[str], environment: dict[str, str]) -> str:
        """What one of the scripts beside this one prints, run by the pilot's Python."""
        done = subprocess.run(
            [self.python, HERE / arguments[0], *arguments[1:]],
            cwd=self.pilot,
            env=self.environment() | environment,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            sys.exit(f"{arguments[0]} failed:\n{done.stderr[-3000:]}")
        return done.stdout

    def asked(self, rows: int) -> list[Record]:
        """The model's inputs alone, of so many rows."""
        return [{name: record[name] for name in self.features} for record in self.records[:rows]]


class Contestant(ABC):
    """A way to serve the model."""

    name: str
    path = "/predict"
    note = ""
    requirements: str | None = None  # the file of its environment; without one it runs in the pilot's

    def __init__(self, case: Case, environments: Path) -> None:
        self.case = case
        self.folder = case.folder / type(self).__name__.lower()
        self.folder.mkdir()
        self.environment_folder = environments / (self.requirements or "")

    def install(self) -> None:
        """Make its environment, if it is not there already."""
        if self.requirements is None:
            return
        pins = (HERE / "requirements" / f"{self.requirements}.txt").read_text(encoding="utf-8")
        stamp = self.environment_folder / "installed.txt"
        if stamp.is_file() and stamp.read_text(encoding="utf-8") == pins:
            return
        uv = ["uv", "--quiet"]
        subprocess.run([*uv, "venv", "--clear", "--python", PYTHON, self.environment_folder], check=True)
        subprocess.run(
            [*uv, "pip", "sync", "--python", self.environment_folder, HERE / f"requirements/{self.requirements}.txt"],
            check=True,
        )
        stamp.write_text(pins, encoding="utf-8")

    def start(self, port: int) -> Server:
        environment = self.case.environment(
            MODEL=self.case.model, PORT=str(port), HOME=str(self.folder), **self.settings(port)
        )
        if self.requirements:
            environment["PATH"] = f"{self.environment_folder / 'bin'}{os.pathsep}{environment['PATH']}"
        return Server(self.command(port), self.cwd, environment, self.folder / "log.txt")

    @property
    def cwd(self) -> Path:
        return self.folder

    def program(self, name: str) -> str:
        return str((self.environment_folder if self.requirements else self.case.pilot / ".venv") / "bin" / name)

    def uvicorn(self, app: str, port: int) -> list[str]:
        """The command that serves an app of `rivals/`, saying nothing of each request."""
        return [
            self.program("python"), "-m", "uvicorn", "--app-dir", str(HERE / "rivals"), app,
            "--port", str(port), "--no-access-log", "--log-level", "warning",
        ]  # fmt: skip

    def settings(self, port: int) -> dict[str, str]:
        return {}

    @abstractmethod
    def command(self, port: int) -> list[str]: ...

    def body(self, rows: int) -> bytes:
        return json.dumps({"records": self.case.asked(rows)}).encode()

    def scores(self, answer: bytes) -> list[float]:
        found: list[float] = json.loads(answer)["scores"]
        return found


class Groundwork(Contestant):
    name = "Groundwork"
    note = "metrics, prediction log committed before each answer, contract checked"

    @property
    def cwd(self) -> Path:
        return self.case.pilot

    def settings(self, port: int) -> dict[str, str]:
        return {
            "GROUNDWORK_DATA": str(self.case.data),
            "GROUNDWORK_PORT": str(port),
            "MLFLOW_TRACKING_URI": f"sqlite:///{self.case.data / 'mlflow.db'}",
        }

    def command(self, port: int) -> list[str]:
        return [self.program("python"), "-m", "groundwork.service"]

    def body(self, rows: int) -> bytes:
        return json.dumps({"records": self.case.records[:rows]}).encode()

    def scores(self, answer: bytes) -> list[float]:
        return [each["score"] for each in json.loads(answer)["predictions"]]

    def forget(self) -> None:
        """Start anew: no model in the cache, nothing in the prediction log."""
        shutil.rmtree(self.case.data / "champion", ignore_errors=True)
        with sqlite3.connect(self.case.data / "groundwork.db") as log:  # it also holds who is champion
            log.execute("delete from prediction_batches")

    @property
    def logged(self) -> int:
        """Rows in the prediction log."""
        with sqlite3.connect(self.case.data / "groundwork.db") as log:
            return int(log.execute("select coalesce(sum(rows), 0) from prediction_batches").fetchone()[0])


class Plain(Contestant):
    name = "plain FastAPI"
    note = "one worker of uvicorn, a pydantic row, pyfunc; in the pilot's environment"

    def command(self, port: int) -> list[str]:
        return self.uvicorn("plain:app", port)


class MLflow(Contestant):
    name = "mlflow models serve"
    note = "one worker, dataframe_split"
    requirements = "mlflow"
    path = "/invocations"

    def command(self, port: int) -> list[str]:
        return [
            self.program("mlflow"), "models", "serve", "--model-uri", self.case.model, "--env-manager", "local",
            "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        ]  # fmt: skip

    def body(self, rows: int) -> bytes:
        asked = self.case.asked(rows)
        return json.dumps(
            {"dataframe_split": {"columns": list(asked[0]), "data": [list(row.values()) for row in asked]}}
        ).encode()

    def scores(self, answer: bytes) -> list[float]:
        return [pair[1] for pair in json.loads(answer)["predictions"]]


class LitServe(Contestant):
    name = "LitServe"
    note = "batches of up to 64 requests, 5 ms"
    requirements = "litserve"

    def command(self, port: int) -> list[str]:
        return [self.program("python"), str(HERE / "rivals/litserve_server.py")]


class MLServer(Contestant):
    name = "MLServer"
    note = "mlflow runtime in the server's process, batches of up to 64 requests, 5 ms"
    requirements = "mlserver"
    path = "/v2/models/flights/infer"

    def command(self, port: int) -> list[str]:
        settings = {
            "host": "127.0.0.1", "http_port": port, "grpc_port": free_port(), "metrics_port": free_port(),
            "parallel_workers": 0, "debug": False,
        }  # fmt: skip
        model = {
            "name": "flights", "implementation": "mlserver_mlflow.MLflowRuntime",
            "parameters": {"uri": self.case.model}, "max_batch_size": 64, "max_batch_time": 0.005,
        }  # fmt: skip
        (self.folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
        (self.folder / "model-settings.json").write_text(json.dumps(model), encoding="utf-8")
        return [self.program("mlserver"), "start", str(self.folder)]

    def body(self, rows: int) -> bytes:
        asked = self.case.asked(rows)

        def column(name: str, kind: str) -> dict[str, Any]:
            as_kind = {"datatype": "FP32"} if kind.startswith("float") else {"datatype": "BYTES"} | as_text
            return {"name": name, "shape": [rows, 1], "data": [row[name] for row in asked]} | as_kind

        as_text = {"parameters": {"content_type": "str"}}
        columns = [column(name, kind) for name, kind in self.case.features.items()]
        return json.dumps({"parameters": {"content_type": "pd"}, "inputs": columns}).encode()

    def scores(self, answer: bytes) -> list[float]:
        found: list[float] = json.loads(answer)["outputs"][0]["data"]
        return found[1::2]


class BentoML(Contestant):
    name = "BentoML"
    note = "adaptive batching of up to 64,000 rows, refusing after 30 s"
    requirements = "bentoml"

    def settings(self, port: int) -> dict[str, str]:
        return {"BENTOML_HOME": str(self.folder)}

    def command(self, port: int) -> list[str]:
        return [
            self.program("bentoml"), "serve", "bentoml_service:Scores", "--working-dir", str(HERE / "rivals"),
            "--host", "127.0.0.1", "--port", str(port),
        ]  # fmt: skip

    def scores(self, answer: bytes) -> list[float]:
        found: list[float] = json.loads(answer)
        return found


class Bare(Contestant):
    """Not a contestant, a floor: nothing is predicted."""

    name = "bare ASGI"

    def command(self, port: int) -> list[str]:
        return self.uvicorn("bare:app", port)

    def body(self, rows: int) -> bytes:
        return json.dumps({"records": self.case.records[:rows]}).encode()

    def scores(self, answer: bytes) -> list[float]:
        return []


RIVALS: tuple[type[Contestant], ...] = (MLflow, Plain, LitServe, MLServer, BentoML)
