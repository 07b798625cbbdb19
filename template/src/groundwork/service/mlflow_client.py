"""A small REST client for the registry of an MLflow server: MLflow's own client takes seconds to import."""

import base64
import http.client
import io
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlencode, urlsplit

import msgspec

from groundwork.core.errors import BundleError
from groundwork.documents.pilot import Pilot
from groundwork.models.serving.bundles import BUNDLE, CHALLENGER, CHAMPION, PROMOTION, BundleCache, SignedBundle
from groundwork.store.promotion_log import Promotion

Answer = TypeVar("Answer")


class TrackingServer:
    """An MLflow server. It passes artefacts on from its storage, so the service needs no access to that storage."""

    def __init__(self, pilot: Pilot) -> None:
        parts = urlsplit(pilot.settings.tracking_uri)
        self._address = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")
        self._authorization = _authorization(pilot)
        self._model = pilot.name
        self._cache = BundleCache(pilot)
        self._seconds = pilot.settings.registry_timeout_seconds
        authorities = pilot.settings.mlflow_tracking_server_cert_path
        # Reading the system's authorities takes 30 ms of CPU; a server in the same network rarely needs them.
        needs_tls = authorities or parts.scheme == "https"
        self._tls = ssl.create_default_context(cafile=authorities or None) if needs_tls else None
        self._deadline = 0.0
        self.ahead: float | None = None  # seconds by which this machine's clock was ahead of the server's

    def glance(self) -> object:
        """Return the version of each alias."""
        self._deadline = time.monotonic() + self._seconds
        return self._aliases()

    def bundles(self, number: str, sha256: str) -> Iterator[SignedBundle | None]:
        """Yield the champion's bundle, then the challenger's or None. Raises BundleError."""
        self._deadline = time.monotonic() + self._seconds
        yield self._cache.cached(number, sha256) or self._bundle(number, sha256)
        challenger = self._aliases().get(CHALLENGER)
        yield self._bundle(challenger) if challenger else None

    def promotion(self) -> Promotion | None:
        """Return the entry of the promotion log that is beside the champion; it need not be genuine."""
        self._deadline = time.monotonic() + self._seconds
        champion = self._aliases().get(CHAMPION)
        return Promotion.from_json(self._tags(champion).get(PROMOTION, "")) if champion else None

    def stop(self) -> None:
        """Do nothing: a running request ends with the process."""

    def _aliases(self) -> dict[str, str]:
        """Return the version of each alias; empty if there is no such model."""
        found = self._ask(_ModelAnswer, "registered-models/get", name=self._model)
        return {each.alias: each.version for each in found.registered_model.aliases} if found else {}

    def _bundle(self, number: str, sha256: str | None = None) -> SignedBundle:
        """Return the version's bundle: that with this digest, or that which the registry names."""
        tags = self._tags(number)
        download = partial(self._download, tags.get("run_id", ""))
        return self._cache.fetch(number, tags.get("bundle_sha256", "") if sha256 is None else sha256, download)

    def _tags(self, number: str) -> dict[str, str]:
        found = self._ask(_VersionAnswer, "model-versions/get", name=self._model, version=number)
        if found is None:
            raise BundleError(f"version {number} of {self._model} is no longer in the registry")
        return {tag.key: tag.value for tag in found.model_version.tags}

    def _download(self, run_id: str, folder: Path) -> Path:
        """Download the run's serving bundle into a new folder below `folder`, and return that."""
        target = folder / BUNDLE
        target.mkdir()
        found = self._ask(_FilesAnswer, "artifacts/list", run_id=run_id, path=BUNDLE)
        for path in [file.path for file in found.files] if found else []:
            name = path.removeprefix(f"{BUNDLE}/")
            if Path(name).name != name:
                raise BundleError(f"the registry lists a file outside of the bundle: {path}")
            content = self._get("get-artifact", run_id=run_id, path=path)
            if content is None:
                raise BundleError(f"the registry lists {path} but does not have it")
            (target / name).write_bytes(content)
        return target

    def _ask(self, answer: type[Answer], what: str, **parameters: str) -> Answer | None:
        """Return the answer of MLflow's REST API; None if it has nothing of that name."""
        content = self._get(f"api/2.0/mlflow/{what}", **parameters)
        try:
            return None if content is None else msgspec.json.decode(content, type=answer)
        except msgspec.DecodeError:
            raise BundleError(
                f"{self._address} does not answer like an MLflow server: check MLFLOW_TRACKING_URI"
            ) from None

    def _get(self, where: str, **parameters: str) -> bytes | None:
        """Return the content at the path; None if the server has nothing of that name. Raises BundleError."""
        request = urllib.request.Request(f"{self._address}/{where}?{urlencode(parameters)}")
        if self._authorization:
            request.add_unredirected_header("Authorization", self._authorization)  # for this server only
        opener = urllib.request.build_opener(_InTime(self._deadline, self._tls))
        try:
            try:
                answer = opener.open(request, timeout=max(self._deadline - time.monotonic(), 0.001))
            except urllib.error.HTTPError as refusal:
                answer = refusal
            with answer:
                self._compare_clocks(answer.headers.get("Date"))
                status, content = answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            if isinstance(getattr(error, "reason", error), TimeoutError):
                raise BundleError(f"the registry did not answer within {self._seconds:g} s") from None
            raise BundleError(f"the registry at {self._address} cannot be reached: {error}") from None
        if status == 200:
            return bytes(content)
        if status == 404 and b"RESOURCE_DOES_NOT_EXIST" in content:
            return None
        hint = ": check MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
        raise BundleError(f"the registry answers {status} to {where}{hint if status in (401, 403) else ''}")

    def _compare_clocks(self, date: str | None) -> None:
        with suppress(TypeError, ValueError):  # no date, or none
            self.ahead = time.time() - parsedate_to_datetime(date or "").timestamp()


class _Alias(msgspec.Struct):
    alias: str
    version: str


class _Model(msgspec.Struct):
    aliases: list[_Alias] = []


class _ModelAnswer(msgspec.Struct):
    registered_model: _Model


class _Tag(msgspec.Struct):
    key: str
    value: str = ""  # MLflow leaves out an empty value


class _Version(msgspec.Struct):
    tags: list[_Tag] = []


class _VersionAnswer(msgspec.Struct):
    model_version: _Version


class _File(msgspec.Struct):
    path: str


class _FilesAnswer(msgspec.Struct):
    files: list[_File] = []


class _InTime(urllib.request.HTTPHandler, urllib.request.HTTPSHandler):
    """Requests with a deadline. The standard library's timeouts restart with every byte that arrives."""

    def __init__(self, deadline: float, tls: ssl.SSLContext | None) -> None:
        super().__init__()
        self._deadline = deadline
        self._tls = tls

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(partial(self._connection, http.client.HTTPConnection), req)

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(
            partial(self._connection, http.client.HTTPSConnection),
            req,
            context=self._tls,
        )

    def _connection(self, kind: type[http.client.HTTPConnection], *args: Any, **options: Any) -> Any:
        connection = kind(*args, **options)
        connection.response_class = self._response  # type: ignore[assignment]
        return connection

    def _response(self, sock: socket.socket, *args: Any, **options: Any) -> http.client.HTTPResponse:
        response = http.client.HTTPResponse(sock, *args, **options)
        response.fp = io.BufferedReader(_UntilDeadline(response.fp, sock, self._deadline))
        return response


class _UntilDeadline(io.RawIOBase):
    """Reads from a socket until the deadline; then raises TimeoutError."""

    def __init__(self, arriving: io.BufferedReader, sock: socket.socket, deadline: float) -> None:
        self._arriving = arriving
        self._socket = sock
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)
        return self._arriving.raw.readinto(buffer)

    def close(self) -> None:
        self._arriving.close()
        super().close()


def _authorization(pilot: Pilot) -> str:
    """Return the Authorization header that MLflow's own client would send; empty if there is none."""
    in_address = urlsplit(pilot.settings.tracking_uri)
    user = pilot.settings.mlflow_tracking_username or unquote(in_address.username or "")
    password = pilot.settings.mlflow_tracking_password or unquote(in_address.password or "")
    if user and password:
        return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    return f"Bearer {pilot.settings.mlflow_tracking_token}" if pilot.settings.mlflow_tracking_token else ""
