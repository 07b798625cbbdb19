"""The pilot's image, built and run as in production: no rights, a read-only disk, the registry across a network."""

import json
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from .conftest import Container, Docker, Run, Tracking, figures

pytestmark = [pytest.mark.container, pytest.mark.soak]

GRACE = 10  # seconds that `docker stop` gives unless told otherwise
NOT_FOR_SERVING = {
    "evidently", "ibis-framework", "mlflow", "mlflow-skinny", "pandas", "prefect", "pyarrow", "scikit-learn", "skops",
}  # fmt: skip
MOST_MB = 380  # a third of the image that MLflow makes to serve the same model

# Run in the pilot's own environment: the newest rows as requests, and what the trained pipeline itself says of them.
IN_THE_PILOT = """
import json, sys
from datetime import datetime, timedelta
import mlflow, pandas as pd
from groundwork.models.serving.predictor import arrays
from groundwork.core.environment import prepare
from groundwork.documents.pilot import Pilot
from groundwork.data.snapshots import Snapshots
from use_case import decision

pilot = Pilot.here()
prepare(pilot.settings)
dataset = pilot.contract.dataset
snapshots = Snapshots(pilot.snapshots, dataset)
rows = snapshots.read(start=snapshots.newest() - timedelta(days=1)).slice(length=200)
model = mlflow.sklearn.load_model(f"models:/{pilot.name}@champion")
columns = {column.name: rows[column.name].to_pylist() for column in dataset.features}
scores = model.predict_proba(pd.DataFrame(arrays(columns, dataset.features)))[:, 1]
json.dump(
    {
        "records": rows.select([column.name for column in dataset.requested]).to_pylist(),
        "scores": scores.tolist(),
        "decisions": decision.decide(scores, pilot.charter.value.parameters).tolist(),
    },
    sys.stdout,
    default=datetime.isoformat,
)
"""


# Run in the pilot's own environment: a bundle whose model reads text, and the trained pipeline's scores.
TEXT_MODEL = """
import json, sys
from pathlib import Path
import numpy as np, pandas as pd
from groundwork.documents.contract.contract import Dataset
from groundwork.models.packaging.pack import pack
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

folder = Path(sys.argv[1])
texts = ["Thanks, a lovely day", "refund a broken chair", "CAFÉ ÜBER İSTANBUL", "broken ΟΔΟΣ \\u0645\\u0631", ""] * 20
frame = pd.DataFrame({"body": np.array(texts, dtype=object)})
model = make_pipeline(make_column_transformer((TfidfVectorizer(ngram_range=(1, 2)), "body")), LogisticRegression(C=30))
model.fit(frame, ["broken" in text for text in texts])
columns = [
    {"name": "key", "logicalType": "string", "primaryKey": True, "examples": ["a"]},
    {"name": "at", "logicalType": "timestamp", "tags": ["event_time"], "examples": ["2026-01-01T00:00:00"]},
    {"name": "body", "logicalType": "string", "tags": ["feature"], "examples": ["a"]},
    {"name": "back", "logicalType": "boolean", "tags": ["outcome"], "examples": [True]},
]
dataset = Dataset.model_validate({"name": "notes", "properties": [{"description": "-"} | each for each in columns]})
bundle = pack(model, {"all": frame}, lambda scores, _: np.where(scores > 0.5, "act", "keep"), folder, dataset)
assert bundle.format == "onnx", bundle.reason
made = {"sha256": bundle.sha256, "texts": texts, "scores": model.predict_proba(frame)[:, 1].tolist()}
(folder / "made.json").write_text(json.dumps(made))
"""
LOAD_TEXT_MODEL = """
import json
from pathlib import Path
import numpy as np
from groundwork.models.serving.predictor import Predictor

made = json.loads(Path("/bundle/made.json").read_text())
scores = Predictor(Path("/bundle"), made["sha256"], ["body"]).scores({"body": np.array(made["texts"], dtype=object)})
print(np.abs(scores - made["scores"]).max())
"""


@pytest.fixture(scope="module")
def expected(pilot: Path, tracking: Tracking) -> dict[str, list[Any]]:
    """Requests, and what the service has to answer."""
    said = subprocess.run(
        [pilot / ".venv/bin/python", "-c", IN_THE_PILOT], env=tracking.environment, text=True, stdout=subprocess.PIPE
    )
    assert said.returncode == 0
    found = json.loads(said.stdout)
    assert isinstance(found, dict)
    assert len(set(found["scores"])) > 10  # or agreement would mean little
    return found


def test_answers_as_the_trained_pipeline_does(service: Container, expected: dict[str, list[Any]]) -> None:
    answer = service.ask("/predict", {"records": expected["records"]})
    assert answer.status == 200, answer.body
    predictions = answer.body["predictions"]
    assert [prediction["score"] for prediction in predictions] == pytest.approx(expected["scores"], abs=1e-5)
    assert [prediction["decision"] for prediction in predictions] == expected["decisions"]


def test_loads_a_model_of_text_although_it_has_no_locale(
    docker: Docker, image: str, pilot: Path, tmp_path: Path
) -> None:
    made = subprocess.run([pilot / ".venv/bin/python", "-c", TEXT_MODEL, tmp_path], text=True, capture_output=True)
    assert made.returncode == 0, made.stderr
    for path in (tmp_path, *tmp_path.iterdir()):
        path.chmod(0o755)  # the service's own user reads them
    volume = f"{tmp_path}:/bundle:ro"
    locales = docker("run", "--rm", image, "sh", "-c", "ls /usr/lib/locale")
    assert "en_US" not in locales
    assert float(docker("run", "--rm", "--volume", volume, image, "python", "-c", LOAD_TEXT_MODEL)) < 1e-5


def test_what_it_has_answered_outlives_it(docker: Docker, run: Run, image: str, expected: dict[str, list[Any]]) -> None:
    volume = docker("volume", "create")
    try:
        with run("--volume", f"{volume}:/app/data") as container:
            container.wait_until_healthy()
            answer = container.ask("/predict", {"records": expected["records"][:3]})
            docker("kill", container.id)
        read = (
            "from groundwork.store.database import Store; log = Store('sqlite:////app/data/groundwork.db'); "
            "print(*(row[0] for row in log.ask('select prediction_id from predictions')))"
        )
        kept = docker("run", "--rm", "--volume", f"{volume}:/app/data", image, "python", "-c", read)
        assert sorted(kept.split()) == sorted(prediction["prediction_id"] for prediction in answer.body["predictions"])
    finally:
        docker("volume", "rm", "--force", volume)


def test_runs_as_nobody_with_no_rights(service: Container) -> None:
    status = dict(line.split(":\t", 1) for line in service.python("print(open('/proc/1/status').read())").splitlines())
    assert status["Uid"].split() == ["10001"] * 4
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
    assert status["NoNewPrivs"] == "1"


def test_could_not_write_into_itself_even_on_a_writable_disk(docker: Docker, image: str) -> None:
    paths = "/", "/app", "/app/charter.yaml", "/opt/venv", "/app/data", "/tmp"
    code = f"import os; print(*(path for path in {paths} if os.access(path, os.W_OK)))"
    assert docker("run", "--rm", image, "python", "-c", code).split() == ["/app/data", "/tmp"]


def test_only_what_is_named_is_sent_to_the_engine(docker: Docker, pilot: Path, tmp_path: Path) -> None:
    everything = tmp_path / "Dockerfile"
    everything.write_text("FROM scratch\nCOPY . /\n", encoding="utf-8")
    docker("build", "--quiet", "--file", everything, "--output", f"type=local,dest={tmp_path / 'sent'}", pilot)
    sent = {path.name for path in (tmp_path / "sent").iterdir()}
    assert sent == {"OWNERS", "README.md", "charter.yaml", "contract.yaml", "pyproject.toml", "src", "uv.lock"}
    assert not list((tmp_path / "sent").rglob("__pycache__"))


def test_holds_the_three_documents_and_nothing_else_of_the_project(service: Container) -> None:
    found = service.python("import os; print(*os.listdir('/app'))").split()
    assert sorted(found) == ["OWNERS", "charter.yaml", "contract.yaml", "data"]


def test_carries_nothing_that_trains(service: Container) -> None:
    installed = json.loads(
        service.python(
            "import json; from importlib.metadata import distributions; "
            "print(json.dumps([found.metadata['Name'].lower() for found in distributions()]))"
        )
    )
    assert "onnxruntime" in installed  # or this test sees nothing
    assert NOT_FOR_SERVING.isdisjoint(installed)
    modules = "evidently", "mlflow", "flask", "ibis", "pandas", "prefect", "sklearn", "sqlalchemy"
    code = f"from importlib.util import find_spec; print(*filter(find_spec, {modules}))"
    assert service.python(code) == ""


def test_is_small(docker: Docker, image: str) -> None:
    assert int(docker("inspect", "--format", "{{.Size}}", image)) / 1e6 < MOST_MB


def test_without_a_key_to_trust_it_says_what_to_set(run: Run) -> None:
    with run("--env", "GROUNDWORK_TRUSTED_KEYS=") as container:
        container.wait_until_live()
        said = "set GROUNDWORK_TRUSTED_KEYS to its output"
        container.wait_until(lambda: said in container.ask("/health/ready").body["detail"], "told so")


def test_without_a_champion_lives_but_is_not_ready(run: Run, pilot: Path, tmp_path: Path) -> None:
    charter = (pilot / "charter.yaml").read_text(encoding="utf-8")
    nobodys = tmp_path / "charter.yaml"
    nobodys.write_text(re.sub(r"(?m)^(  name: ).*", r"\1never-trained", charter, count=1), encoding="utf-8")
    with run("--volume", f"{nobodys}:/app/charter.yaml:ro") as container:
        container.wait_until_live()
        # The registry has been asked, and knows no champion: that is an answer, not a start still under way.
        container.wait_until(lambda: "never-trained" in container.ask("/health/ready").body["detail"], "told so")
        assert container.ask("/health/ready").status == 503
        assert container.ask("/health/live").status == 200
        assert container.state("State.Health.Status") != "healthy"


def test_answers_nobody_without_a_key(service: Container) -> None:
    assert [service.ask(path, key="a guess").status for path in ("/metrics", "/docs", "/predict")] == [401] * 3
    assert service.ask("/health/live", key="a guess").status == 200


def test_does_not_listen_on_a_network_without_keys(docker: Docker, image: str) -> None:
    command = ["docker", "run", "--rm", image]
    ended = subprocess.run(command, env=docker.environment, text=True, capture_output=True, timeout=60)
    assert ended.returncode == 1
    assert "set GROUNDWORK_API_KEYS" in ended.stderr


def test_ends_when_told_to(docker: Docker, run: Run) -> None:
    with run() as container:
        container.wait_until_healthy()
        began = time.monotonic()
        docker("stop", "--time", GRACE, container.id)
        took = time.monotonic() - began
        figures["ended after"] = f"{took:.1f} s"
        assert container.state("State.ExitCode") == 0  # 137, had it been killed
        assert took < GRACE
