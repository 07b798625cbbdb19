"""A model's way from a real MLflow server into the running service: nothing that was tampered with gets there."""

import contextlib
import os
import shutil
import socket
import socketserver
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import skops.io
from groundwork.core.errors import BundleError
from groundwork.core.settings import Settings
from groundwork.documents.pilot import Pilot
from groundwork.models.registry.registry import Registry
from groundwork.models.serving.bundles import BUNDLE, CHALLENGER, CHAMPION, PROMOTION, SIGNATURE
from groundwork.models.serving.predictor import Bundle, bundle_digest
from groundwork.models.serving.signing import sign, signer
from groundwork.service.mlflow_client import TrackingServer
from mlflow import MlflowClient
from pilots import enter
from registries import write_entry
from serving import Service, black_hole, closed, serving
from sklearn.base import BaseEstimator, ClassifierMixin

NO_MLFLOW = "import sys\nsys.modules['mlflow'] = None\n"  # as in the image


class Server:
    """An MLflow server with versions of the pilot's model, of which some should never have got there."""

    def __init__(self, uri: str, pilot: Pilot, folder: Path) -> None:
        self.uri = uri
        self.pilot = pilot
        self.folder = folder
        self.client = MlflowClient(uri)
        self.model = pilot.name
        self.client.create_registered_model(self.model)
        champion = Registry(pilot).champion()
        assert champion is not None
        self.good = Path(Registry(pilot).pull(champion).folder)
        self.tags = champion.tags

    def publish(
        self,
        alter: Callable[[Path], dict[str, str] | None] = lambda bundle: None,
        alias: str | None = CHAMPION,
        root: str | None = None,
    ) -> str:
        """Register the good bundle, altered, with the tags that `alter` returns instead of the good ones."""
        name = f"experiment {time.monotonic_ns()}"
        run = self.client.create_run(self.client.create_experiment(name, artifact_location=root)).info.run_id
        bundle = self.folder / run / BUNDLE
        shutil.copytree(self.good, bundle)
        tags = self.tags | (alter(bundle) or {}) | {"run_id": run}
        self.client.log_artifacts(run, str(bundle), BUNDLE)
        version = self.client.create_model_version(self.model, f"runs:/{run}/{BUNDLE}", run, tags).version
        if alias == CHAMPION:
            entry = write_entry(Pilot.here(), to_version=str(version), bundle_sha256=tags["bundle_sha256"])
            self.client.set_model_version_tag(self.model, str(version), PROMOTION, entry.as_json())
        if alias:
            self.client.set_registered_model_alias(self.model, alias, version)
        return str(version)


@contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", port, "--workers", 1,
        "--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", folder / "artifacts",
    ]  # fmt: skip
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(list(map(str, command)), cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 600
        while True:
            assert server.poll() is None, (folder / "server.log").read_text()
            assert time.monotonic() < deadline, (folder / "server.log").read_text()
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=10):
                    break
            except OSError:
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(60)


@pytest.fixture(scope="module")
def server(pilot: Pilot, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("mlflow")
    with mlflow_server(folder) as uri:
        yield Server(uri, pilot, folder)


@pytest.fixture(scope="module")
def service(server: Server, pilot: Pilot, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that has fetched its champion from the server, without MLflow; the promotion log names it alone."""
    folder = tmp_path_factory.mktemp("handover")
    shutil.copytree(
        pilot.settings.home, folder / "pilot", ignore=shutil.ignore_patterns("champion", "groundwork.db*", "ml*")
    )
    (folder / "sitecustomize.py").write_text(NO_MLFLOW)
    with pytest.MonkeyPatch.context() as patch:
        pilot = enter(folder / "pilot", patch)
        server.publish()
        with serving(pilot, MLFLOW_TRACKING_URI=server.uri, PYTHONPATH=str(folder)) as service:
            service.wait("/health/ready", model_source="registry")
            yield service


def refreshes_failed(service: Service) -> float:
    text = service.ask("/metrics")[1]["text"]
    [line] = [line for line in text.splitlines() if line.startswith("groundwork_model_refresh_failures_total")]
    return float(line.split()[-1])


def flip_a_bit(bundle: Path) -> None:
    content = bytearray((bundle / "model.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / "model.onnx").write_bytes(content)


def truncate(bundle: Path) -> None:
    os.truncate(bundle / "model.onnx", (bundle / "model.onnx").stat().st_size // 2)


def lose_a_file(bundle: Path) -> None:
    (bundle / "model.onnx").unlink()


def with_digest(bundle: Path, content: bytes, **changes: object) -> dict[str, str]:
    """Change `bundle.json` and the model, and say of the outcome what a registry says of a sound one."""
    description = Bundle.model_validate_json((bundle / "bundle.json").read_bytes()).model_copy(update=changes)
    description.sha256 = bundle_digest(description, content)
    (bundle / description.file).write_bytes(content)
    (bundle / "bundle.json").write_text(description.model_dump_json())
    return {"bundle_sha256": description.sha256}


def alter_everything_that_the_registrys_host_can(bundle: Path) -> dict[str, str]:
    return with_digest(bundle, (bundle / "model.onnx").read_bytes(), reason="trust me")


def sign_as_a_stranger(bundle: Path) -> dict[str, str]:
    stranger = Pilot(Settings(home=Pilot.here().settings.home, data=bundle.parent / "stranger"))
    tags = alter_everything_that_the_registrys_host_can(bundle)
    (bundle / SIGNATURE).write_text(sign(stranger, tags["bundle_sha256"]))
    return tags


def leave_out_the_signature(bundle: Path) -> None:
    (bundle / SIGNATURE).unlink()


class Forbidden(ClassifierMixin, BaseEstimator):
    """A type that is on no list."""


def smuggle_a_type_in(bundle: Path) -> dict[str, str]:
    """With the signature of who trains here."""
    tags = with_digest(bundle, skops.io.dumps(Forbidden()), format="skops", file="model.skops")
    (bundle / SIGNATURE).write_text(sign(Pilot.here(), tags["bundle_sha256"]))
    return tags


@pytest.mark.soak
@pytest.mark.parametrize(
    ("alter", "said"),
    [
        (flip_a_bit, "its digest differs"),
        (truncate, "its digest differs"),
        (lose_a_file, "cannot be read"),
        (alter_everything_that_the_registrys_host_can, "no trusted key has signed the bundle"),
        (sign_as_a_stranger, "no trusted key has signed the bundle"),
        (leave_out_the_signature, "not signed: train again"),
        (smuggle_a_type_in, "types that are not trusted"),
    ],
)
def test_what_was_tampered_with_is_refused_and_the_old_champion_serves(
    server: Server, service: Service, alter: Callable[[Path], dict[str, str] | None], said: str
) -> None:
    before = server.publish()
    service.wait("/health/ready", model_version=before)
    failed, logged = refreshes_failed(service), service.log.stat().st_size
    bad = server.publish(alter)
    deadline = time.monotonic() + 120
    while refreshes_failed(service) == failed or said not in service.log.read_text()[logged:]:
        assert time.monotonic() < deadline, service.complaints()
        time.sleep(0.1)
    assert service.wait("/health/ready")["model_version"] == before
    [prediction] = service.predict()[1]["predictions"]
    assert (prediction["model_version"], prediction["role"]) == (before, "champion")
    assert f'version="{bad}"' not in service.ask("/metrics")[1]["text"]


def test_a_challenger_that_cannot_be_fetched_does_not_hold_up_the_champion(server: Server, service: Service) -> None:
    failed = refreshes_failed(service)
    bad = server.publish(lose_a_file, alias=CHALLENGER)
    try:
        good = server.publish()
        service.wait("/health/ready", model_version=good)
        assert refreshes_failed(service) > failed
        assert f'version="{bad}"' not in service.ask("/metrics")[1]["text"]
    finally:
        server.client.delete_registered_model_alias(server.model, CHALLENGER)


def test_artefacts_that_lie_elsewhere_are_fetched_by_the_server(server: Server, service: Service) -> None:
    elsewhere = server.publish(root=(server.folder / "elsewhere").as_uri())
    service.wait("/health/ready", model_version=elsewhere)


def test_a_service_without_the_log_follows_the_signed_entry_beside_the_champion(
    server: Server, pilot_copy: Pilot, tmp_path: Path
) -> None:
    """And neither an alias alone, nor an entry that no trusted key has signed, nor an older one."""
    shutil.rmtree(pilot_copy.settings.champion_cache)
    first = server.publish()
    options = {"MLFLOW_TRACKING_URI": server.uri, "GROUNDWORK_STORE_URL": f"sqlite:///{tmp_path / 'own.db'}"}
    with serving(pilot_copy, **options) as service:
        service.wait("/health/ready", model_version=first)
        second = server.publish()
        service.wait("/health/ready", model_version=second)
        tag = server.client.get_model_version(server.model, first).tags[PROMOTION]
        for forged in (tag, tag.replace('"number": ', '"number": 9'), "", "{}", "[1]"):
            server.client.set_model_version_tag(server.model, first, PROMOTION, forged)
            server.client.set_registered_model_alias(server.model, CHAMPION, first)
            time.sleep(1)
            assert service.wait("/health/ready")["model_version"] == second
    server.client.set_registered_model_alias(server.model, CHAMPION, second)


def test_two_services_that_fetch_at_once_are_both_ready(server: Server, pilot_copy: Pilot) -> None:
    shutil.rmtree(pilot_copy.settings.champion_cache)
    server.publish()
    services = [Service(pilot_copy, MLFLOW_TRACKING_URI=server.uri) for _ in range(2)]
    try:
        for service in services:
            service.wait("/health/ready", model_source="registry")
    finally:
        for service in services:
            service.process.kill()
            service.process.wait()


def test_where_nobody_is_trusted_it_says_what_to_set(server: Server, pilot_copy: Pilot) -> None:
    server.publish()
    trusted = signer(pilot_copy)
    pilot_copy.settings.signing_key_file.unlink()
    with serving(pilot_copy, ready=False, MLFLOW_TRACKING_URI=server.uri) as service:
        answer = wait_for_problem(service, "set GROUNDWORK_TRUSTED_KEYS to its output")
        assert answer["status"] == 503
    with serving(pilot_copy, MLFLOW_TRACKING_URI=server.uri, GROUNDWORK_TRUSTED_KEYS=trusted) as service:
        assert service.predict()[0] == 200


def wait_for_problem(service: Service, said: str) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while said not in (answer := service.wait("/health/ready", 503))["detail"]:
        assert time.monotonic() < deadline, answer
        time.sleep(0.1)
    return answer


@contextmanager
def dripping(said: bytes) -> Iterator[str]:
    """A server that says this to everybody, and then a byte every now and then, without end."""
    stop = threading.Event()

    class Drip(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                self.request.sendall(said)
                while not stop.wait(0.05):
                    self.request.sendall(b"a")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Drip) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{listening.server_address[1]}"
        finally:
            stop.set()
            listening.shutdown()


STATUS, BODY = b"HTTP/1.1 200 OK\r\nA: ", b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{"


@contextmanager
def registry(kind: str) -> Iterator[str]:
    """The address of one that is of no use."""
    if kind == "closed":
        yield closed()
    elif kind == "black hole":
        with black_hole() as hole:
            yield hole
    else:
        with dripping(BODY) as drip:
            yield drip


REGISTRIES = {
    "closed": "cannot be reached",
    "black hole": "did not answer within 2 s",
    "dripping": "did not answer within 2 s",
}


@pytest.mark.soak
@pytest.mark.parametrize("kind", REGISTRIES)
def test_a_registry_that_is_of_no_use_leaves_it_live_with_a_reason_and_the_last_good_champion(
    pilot_copy: Pilot, kind: str
) -> None:
    cache = pilot_copy.settings.champion_cache.rename(pilot_copy.settings.champion_cache.with_name("aside"))
    with registry(kind) as uri:
        options = {"MLFLOW_TRACKING_URI": uri, "GROUNDWORK_REGISTRY_TIMEOUT_SECONDS": "2"}
        with serving(pilot_copy, ready=False, **options) as service:
            live = time.monotonic()
            wait_for_problem(service, REGISTRIES[kind])
            assert time.monotonic() - live < 10
            assert service.ask("/health/live")[0] == 200
            assert service.predict()[0] == 503
        shutil.rmtree(pilot_copy.settings.champion_cache, ignore_errors=True)
        cache.rename(pilot_copy.settings.champion_cache)
        with serving(pilot_copy, ready=False, **options) as service:
            live = time.monotonic()
            assert service.wait("/health/ready")["model_source"] == "cache"
            assert time.monotonic() - live < 10
            assert service.predict()[0] == 200


@pytest.mark.parametrize("said", [b"", STATUS, BODY], ids=["nothing", "half a header", "half an answer"])
def test_a_server_that_drips_is_given_up_in_time(said: bytes, pilot: Pilot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROUNDWORK_REGISTRY_TIMEOUT_SECONDS", "0.5")
    with dripping(said) as uri:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        began = time.monotonic()
        with pytest.raises(BundleError):
            TrackingServer(Pilot.here()).glance()
        assert time.monotonic() - began < 10


class Asked(BaseHTTPRequestHandler):
    """Stands in for a server with accounts, of which MLflow's own needs more libraries than a pilot has."""

    def do_GET(self) -> None:
        self.server.headers.append(self.headers.get("Authorization"))  # type: ignore[attr-defined]
        if location := self.server.elsewhere:  # type: ignore[attr-defined]
            self.send_response(302)
            self.send_header("Location", location)
        else:
            self.send_response(401)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        """Not in the tests' output."""


@contextmanager
def asked(elsewhere: str = "") -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Asked) as listening:
        listening.headers, listening.elsewhere = [], elsewhere  # type: ignore[attr-defined]
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield listening
        listening.shutdown()


@pytest.mark.parametrize(
    ("variables", "account", "header"),
    [
        ({}, "", None),
        ({"USERNAME": "ada", "PASSWORD": "lovelace"}, "", "Basic YWRhOmxvdmVsYWNl"),
        ({"TOKEN": "secret"}, "", "Bearer secret"),
        ({"USERNAME": "ada", "PASSWORD": "lovelace", "TOKEN": "secret"}, "", "Basic YWRhOmxvdmVsYWNl"),
        ({}, "ada:lovelace@", "Basic YWRhOmxvdmVsYWNl"),
    ],
)
def test_it_shows_mlflows_credentials_to_the_server_alone(
    variables: dict[str, str], account: str, header: str | None, pilot: Pilot, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", value)
    with asked() as stranger, asked(f"http://127.0.0.1:{stranger.server_address[1]}/") as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://{account}127.0.0.1:{server.server_address[1]}")
        with pytest.raises(BundleError, match="answers 401") as refused:
            TrackingServer(Pilot.here()).glance()
        assert "MLFLOW_TRACKING_TOKEN" in str(refused.value)
        assert "lovelace" not in str(refused.value)
        assert server.headers == [header]  # type: ignore[attr-defined]
        assert stranger.headers == [None]  # type: ignore[attr-defined]


@pytest.mark.parametrize("said", ["", "<html>", "[]", "{}", '{"registered_model": 1}'])
def test_what_is_no_mlflow_server_is_said_so(said: str, pilot: Pilot, monkeypatch: pytest.MonkeyPatch) -> None:
    head = f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len(said)}\r\n\r\n"
    with dripping((head + said).encode()) as uri:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        with pytest.raises(BundleError, match="check MLFLOW_TRACKING_URI"):
            TrackingServer(Pilot.here()).glance()
