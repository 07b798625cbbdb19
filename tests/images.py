"""A registry of Debian's, and images small enough to be made without an engine."""

import base64
import hashlib
import io
import json
import os
import subprocess
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support import ROOT, free_port, missing

USER, PASSWORD = "ada", "secret"
# The registry wants its password by bcrypt, which Python cannot make.
ACCOUNT = "ada:$2b$04$XnjzoNbZBlAwYJoREOHa..oRJmLw/x/cttAtSvetRiU754vV1v1gC\n"
CONFIG = """
version: 0.1
storage: {{filesystem: {{rootdirectory: {folder}/blobs}}}}
http: {{addr: "127.0.0.1:{port}"}}
auth: {{htpasswd: {{realm: tests, path: {folder}/accounts}}}}
"""
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def debian(*packages: str) -> Path:
    """The folder of Debian's packages, unpacked; kept from one run to the next."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "groundwork" / "+".join(packages)
    if not cache.exists():
        cache.parent.mkdir(parents=True, exist_ok=True)
        script = ROOT / "tests/containers/packages.sh"
        done = subprocess.run([script, cache, *packages], text=True, stderr=subprocess.PIPE)
        if done.returncode == 77:  # it is the machine's fault
            missing(done.stderr.strip().splitlines()[-1])
        assert done.returncode == 0, done.stderr
    return cache / "usr/bin"


@contextmanager
def registry(program: Path, folder: Path) -> Iterator[str]:
    """The address of an empty registry that knows one user."""
    port = free_port()
    (folder / "accounts").write_text(ACCOUNT)
    (folder / "config.yml").write_text(CONFIG.format(folder=folder, port=port))
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen([program, "serve", folder / "config.yml"], stdout=log, stderr=log) as server,
    ):
        try:
            while not _answers(f"127.0.0.1:{port}"):
                assert server.poll() is None, (folder / "log").read_text()
                time.sleep(0.05)
            yield f"127.0.0.1:{port}"
        finally:
            server.terminate()


def _answers(address: str) -> bool:
    try:
        return bool(_ask("GET", address, ""))
    except (urllib.error.URLError, ConnectionError):
        return False


def push(image: str, tag: str, content: str) -> str:
    """Make an image of one file with the content, and push it as `REGISTRY/NAME` under the tag; its digest."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        about = tarfile.TarInfo("content")
        about.size = len(content.encode())
        archive.addfile(about, io.BytesIO(content.encode()))
    layer = _upload(image, file.getvalue()) | {"mediaType": "application/vnd.oci.image.layer.v1.tar"}
    settings = {
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
    }  # fmt: skip
    config = _upload(image, json.dumps(settings).encode()) | {"mediaType": "application/vnd.oci.image.config.v1+json"}
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]}
    return put(image, tag, json.dumps(manifest).encode())


def put(image: str, tag: str, manifest: bytes) -> str:
    """Name a manifest by a tag, whatever the tag named before; its digest."""
    host, _, name = image.partition("/")
    _ask("PUT", host, f"{name}/manifests/{tag}", manifest, MANIFEST)
    return digest(manifest)


def get(image: str, tag: str) -> bytes:
    """The manifest that a tag names."""
    host, _, name = image.partition("/")
    return _ask("GET", host, f"{name}/manifests/{tag}")[0]


def copy(source: str, target: str, tag: str) -> None:
    """Put an image, or what a tag names beside it, into another repository of the registry."""
    manifest = get(source, tag)
    (host, _, origin), name = source.partition("/"), target.partition("/")[2]
    content = json.loads(manifest)
    for blob in (content["config"], *content["layers"]):
        _ask("POST", host, f"{name}/blobs/uploads/?mount={blob['digest']}&from={origin}", b"")
    put(target, tag, manifest)


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _upload(image: str, content: bytes) -> dict[str, object]:
    host, _, name = image.partition("/")
    where = _ask("POST", host, f"{name}/blobs/uploads/", b"")[1].partition("/v2/")[2]
    joint = "&" if "?" in where else "?"
    _ask("PUT", host, f"{where}{joint}digest={digest(content)}", content, "application/octet-stream")
    return {"digest": digest(content), "size": len(content)}


def _ask(method: str, host: str, path: str, body: bytes | None = None, kind: str = MANIFEST) -> tuple[bytes, str]:
    """What the registry answers, and where it says to go on."""
    login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    headers = {"Authorization": f"Basic {login}", "Accept": kind, "Content-Type": kind}
    request = urllib.request.Request(f"http://{host}/v2/{path}", body, headers, method=method)
    with urllib.request.urlopen(request, timeout=10) as response:
        return response.read(), response.headers.get("Location", "")
