"""Signed images, with cosign and a registry of Debian's: what was not signed as it should be is not deployed.

The images are small ones, made by the tests; tests/containers/test_delivery.py builds those of a pilot.
"""

import base64
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import images
from pipelines import Job, Runner
from support import ROOT, commit, copy, execute, update
from test_delivery import KNOWN, READERS, both, chosen

# Docker builds, pushes and finds images of the tests; the label is in them, so that those of two commits differ.
DOCKER = f"""
import os
sys.path.insert(0, "{ROOT}/tests")
import images
built = pathlib.Path(sys.argv[0]).parents[1] / "built"
image, _, tag = arguments[-1].rpartition(":")
if arguments[0] == "build":
    tagged, label = (arguments[arguments.index(option) + 1] for option in ("--tag", "--label"))
    built.mkdir(exist_ok=True)
    (built / tagged.replace("/", "+")).write_text(tagged.rpartition("/")[2].partition(":")[0] + " of " + label)
if arguments[0] in ("push", "image"):
    digest = images.push(image, tag, (built / arguments[-1].replace("/", "+")).read_text())
if arguments[0] == "image":
    print(image + "@" + digest)
if "imagetools" in arguments:
    print(json.dumps(images.digest(images.get(image, tag))))
"""
KUBECTL = 'print("  namespace: late-flights-staging")'
UVX = """
pathlib.Path(arguments[-1].partition("=")[2]).write_text('{"bomFormat": "CycloneDX", "specVersion": "1.6"}')
"""
RUN = {
    "github": {
        "github.actor": images.USER,
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_REPOSITORY": "Ada/Late-Flights",
        "GITHUB_WORKFLOW_REF": "Ada/Late-Flights/.github/workflows/deliver.yml@refs/heads/main",
        "GITHUB_RUN_ID": "7",
        "GITHUB_RUN_ATTEMPT": "1",
    },
    "gitlab": {
        "CI_PROJECT_URL": "https://gitlab.com/ada/late-flights",
        "CI_JOB_URL": "https://gitlab.com/ada/late-flights/-/jobs/7",
        "CI_RUNNER_ID": "3",
    },
}
REPOSITORY = {"github": "https://github.com/Ada/Late-Flights", "gitlab": "https://gitlab.com/ada/late-flights"}

INVOCATION = {
    "github": f"{REPOSITORY['github']}/actions/runs/7/attempts/1",
    "gitlab": f"{REPOSITORY['gitlab']}/-/jobs/7",
}


class Key(NamedTuple):
    private: str
    public: str


@pytest.fixture(scope="module")
def debian() -> Path:
    """The folder of cosign and of the registry."""
    return images.debian("cosign", "docker-registry")


@pytest.fixture(scope="module")
def registry(debian: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with images.registry(debian / "docker-registry", tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.fixture(scope="module")
def keys(debian: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Key]:
    """Two key pairs of one password: the team's, and somebody else's."""
    made = []
    for name in ("ours", "theirs"):
        folder = tmp_path_factory.mktemp(name)
        execute(folder, "env", "COSIGN_PASSWORD=secret", str(debian / "cosign"), "generate-key-pair")
        made.append(Key(*((folder / f"cosign.{part}").read_text() for part in ("key", "pub"))))
    return made


class Delivery:
    """A pilot's delivery on one of the platforms."""

    def __init__(self, platform: str, folder: Path, runner: Runner, registry: str) -> None:
        self.platform, self.folder, self.runner = platform, folder, runner
        self.jobs: dict[str, Job] = READERS[platform](folder)
        self.registry = f"{registry}/ada/{folder.parent.name.replace('_', '-')}"
        for job in self.jobs.values():
            for block in job.blocks:
                if "REGISTRY" in block.environment:
                    block.environment["REGISTRY"] = self.registry

    @property
    def commit(self) -> str:
        return execute(self.folder, "git", "rev-parse", "HEAD").strip()

    def use(self, key: Key) -> None:
        """Give the platform this private key."""
        self.runner.known["secrets.COSIGN_PRIVATE_KEY" if self.platform == "github" else "COSIGN_PRIVATE_KEY"] = (
            key.private
        )

    def built(self) -> dict[str, str]:
        """Build, push and sign; the digests, which the later jobs are given."""
        ended = self.runner.run(self.jobs["images"])
        assert ended.code == 0, ended.printed
        digests = dict(zip(("service", "pipeline"), ended.outputs.values(), strict=True))
        self.deploy(**digests)
        return digests

    def deploy(self, service: str, pipeline: str) -> None:
        """Hand these digests on to the later jobs."""
        self.runner.known |= {
            "needs.images.outputs.service": service, "SERVICE_DIGEST": service,
            "needs.images.outputs.pipeline": pipeline, "PIPELINE_DIGEST": pipeline,
        }  # fmt: skip

    def blocked(self, *jobs: str) -> set[str]:
        """What the jobs say last; each has to fail before it asks the cluster anything."""
        said = set()
        for name in jobs:
            ended = self.runner.run(self.jobs[name])
            assert ended.code == 1, f"{name} ended with {ended.code}: {ended.printed}"
            assert self.runner.asked("kubectl") == [], name
            said.add(ended.printed.splitlines()[-1])
        return said

    def roll_back_to(self, wanted: str) -> None:
        chosen(self.runner, self.platform, wanted)
        self.runner.known |= {"SERVICE_DIGEST": "", "PIPELINE_DIGEST": ""}


Make = Callable[[str], Delivery]


@pytest.fixture(scope="module")
def projects(render: Callable[..., Path]) -> dict[str, Path]:
    """A project for each platform, its images signed."""
    return {platform: render(platform, ci=platform, sign_images=True) for platform in READERS}


@pytest.fixture
def delivery(projects: dict[str, Path], debian: Path, registry: str, keys: list[Key], tmp_path: Path) -> Make:
    """Makes a pilot with the team's keys in their places."""

    def make(platform: str) -> Delivery:
        folder = shutil.copytree(projects[platform], tmp_path / "pilot")
        (folder / "ops/cosign.pub").write_text(keys[0].public)
        commit(folder)
        known = KNOWN[platform] | RUN[platform] | {"DOCKER_CONFIG": str(tmp_path / "login")}
        known |= {"secrets.COSIGN_PASSWORD": "secret"} if platform == "github" else {"COSIGN_PASSWORD": "secret"}
        nothing = dict.fromkeys(("apt_get", "pip", "pipx"), "")
        runner = Runner(folder, tmp_path / "state", known, docker=DOCKER, kubectl=KUBECTL, uvx=UVX, **nothing)
        (runner.tools / "cosign").symlink_to(debian / "cosign")
        made = Delivery(platform, folder, runner, registry)
        made.use(keys[0])
        # As `docker login` leaves it for the jobs that push; the others log in by themselves.
        login = {"auth": base64.b64encode(f"{images.USER}:{images.PASSWORD}".encode()).decode()}
        (tmp_path / "login").mkdir()
        (tmp_path / "login/config.json").write_text(json.dumps({"auths": {registry: login}}))
        return made

    return make


def statement(delivery: Delivery, image: str, kind: str) -> dict[str, Any]:
    """What is attested of an image, its signature checked."""
    known = delivery.runner.known
    command = ["verify-attestation", "--key", "ops/cosign.pub", "--insecure-ignore-tlog=true", "--type", kind, image]
    cosign = str(delivery.runner.tools / "cosign")
    said = execute(delivery.folder, "env", f"DOCKER_CONFIG={known['DOCKER_CONFIG']}", cosign, *command)
    [line] = [line for line in said.splitlines() if line.startswith("{")]
    found: dict[str, Any] = json.loads(base64.b64decode(json.loads(line)["payload"]))
    return found


@pytest.mark.slow
@both
def test_signed_images_reach_production_and_are_found_again(platform: str, delivery: Make) -> None:
    ours = delivery(platform)
    released, digests = ours.commit, ours.built()
    for name, digest in digests.items():
        image = f"{ours.registry}/{name}@{digest}"
        assert statement(ours, image, "cyclonedx")["predicate"]["bomFormat"] == "CycloneDX"
        origin = statement(ours, image, "slsaprovenance1")
        assert origin["subject"][0]["digest"] == {"sha256": digest.removeprefix("sha256:")}
        build, run = origin["predicate"]["buildDefinition"], origin["predicate"]["runDetails"]
        assert build["externalParameters"] == {"image": name, "repository": REPOSITORY[platform]}
        assert build["resolvedDependencies"][0]["digest"] == {"gitCommit": released}
        assert run["builder"]["id"].startswith(REPOSITORY[platform])
        assert list(run["metadata"].values()) == [INVOCATION[platform]]  # cosign 2.5 writes the name as invocationID

    (ours.runner.state.parent / "login/config.json").unlink()
    for name in ("staging", "production"):
        ended = ours.runner.run(ours.jobs[name])
        assert ended.code == 0, ended.printed
    (ours.folder / "README.md").write_text("newer\n")
    commit(ours.folder)
    ours.roll_back_to(released)
    ended = ours.runner.run(ours.jobs["rollback"])
    assert ended.code == 0, ended.printed
    assert digests["service"] in ended.printed


def unsigned(ours: Delivery, theirs: Key) -> None:
    """Images that somebody pushed, as nothing but tags of the commit."""
    ours.deploy(*(images.push(f"{ours.registry}/{name}", ours.commit, "unsigned") for name in ("service", "pipeline")))


def signed_by_another_key(ours: Delivery, theirs: Key) -> None:
    """With all that belongs to it, by a key that is not in the repository."""
    kept = (ours.folder / "ops/cosign.pub").read_text()
    ours.use(theirs)
    (ours.folder / "ops/cosign.pub").write_text(theirs.public)
    ours.built()
    (ours.folder / "ops/cosign.pub").write_text(kept)


def another_digest(ours: Delivery, theirs: Key) -> None:
    """Under which somebody put the signature and the statements of the image that was signed."""
    signed, image = ours.built()["service"], f"{ours.registry}/service"
    forged = images.push(image, ours.commit, "forged")
    for part in ("sig", "att"):
        manifest = images.get(image, f"{signed.replace(':', '-')}.{part}")
        images.put(image, f"{forged.replace(':', '-')}.{part}", manifest)
    ours.deploy(forged, images.digest(images.get(f"{ours.registry}/pipeline", ours.commit)))


def another_image(ours: Delivery, theirs: Key) -> None:
    """The pipeline in the place of the service, rightly signed."""
    digest = ours.built()["pipeline"]
    for tag in (ours.commit, *(f"{digest.replace(':', '-')}.{part}" for part in ("sig", "att"))):
        images.copy(f"{ours.registry}/pipeline", f"{ours.registry}/service", tag)
    ours.deploy(digest, digest)


def another_commit(ours: Delivery, theirs: Key) -> None:
    """The images of an earlier commit, rightly signed, under the tag of a newer one."""
    earlier = ours.commit
    digests = ours.built()
    (ours.folder / "README.md").write_text("newer\n")
    commit(ours.folder)
    for name in digests:
        image = f"{ours.registry}/{name}"
        images.put(image, ours.commit, images.get(image, earlier))


@pytest.mark.slow
@pytest.mark.parametrize("platform", ["github", pytest.param("gitlab", marks=pytest.mark.night)])  # the same script
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (unsigned, "is not signed with the key of ops/cosign.pub: no signatures found."),
        (signed_by_another_key, "is not signed with the key of ops/cosign.pub: "),
        (another_digest, "is not signed with the key of ops/cosign.pub: "),
        (another_image, "has no signed statement that it is the service of commit {commit}: "),
        (another_commit, "has no signed statement that it is the service of commit {commit}: "),
    ],
)
def test_an_image_that_was_not_signed_as_this_one_is_not_deployed(
    platform: str, fault: Callable[[Delivery, Key], None], words: str, delivery: Make, keys: list[Key]
) -> None:
    ours = delivery(platform)
    fault(ours, keys[1])
    said = ours.blocked("staging", "production")
    ours.roll_back_to(ours.commit)
    said |= ours.blocked("rollback")
    assert len(said) == 1
    assert "service@sha256:" in said.pop().split(words.format(commit=ours.commit))[0]


@both
def test_nothing_is_pushed_for_deployment_without_the_private_key(platform: str, delivery: Make) -> None:
    ours = delivery(platform)
    ours.use(Key("", ""))
    assert "but COSIGN_PRIVATE_KEY is empty" in ours.blocked("images").pop()


@pytest.mark.slow
def test_a_private_key_that_does_not_fit_the_public_one_is_told_when_it_signs(delivery: Make, keys: list[Key]) -> None:
    ours = delivery("github")
    ours.use(keys[1])
    assert "is not signed with the key of ops/cosign.pub" in ours.blocked("images").pop()


@both
def test_nothing_is_deployed_before_the_team_has_put_its_public_key_there(
    platform: str, delivery: Make, projects: dict[str, Path]
) -> None:
    ours = delivery(platform)
    shutil.copy(projects[platform] / "ops/cosign.pub", ours.folder / "ops")
    ours.deploy(*(f"sha256:{digit * 64}" for digit in "ab"))
    assert ours.blocked("staging", "production") == {"ops/cosign.pub does not hold your public key yet."}


@pytest.mark.soak
def test_a_pilot_that_exists_takes_up_signing_and_gives_it_up_by_an_update(
    template: Path, debian: Path, tmp_path: Path
) -> None:
    """With the commands of the guide; the private key is nothing that git would take."""
    guide = (ROOT / "docs/how-to/deliver.md").read_text(encoding="utf-8")
    [typed] = re.findall(r"```sh\n(cosign generate-key-pair\n.*?)```", guide, re.DOTALL)
    project = tmp_path / "pilot"
    copy(template, project)
    commit(project)
    update(project, sign_images=True)
    key = project / "ops/cosign.pub"
    assert key.read_text().startswith("TBD")
    execute(project, "env", "COSIGN_PASSWORD=secret", f"PATH={debian}:/usr/bin:/bin", "bash", "-ec", typed)
    assert "PUBLIC KEY" in key.read_text()
    commit(project)
    assert (project / "cosign.key").exists()
    assert "cosign.key" not in execute(project, "git", "ls-files")
    update(project, sign_images=False)
    assert not key.exists()
