"""Who may ask: API keys, stored as digests, and what a browser may send for a page of another site.

Several keys may be valid at a time, so that one can be replaced without downtime.
"""

import base64
import hashlib
import ipaddress
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple, get_args

from groundwork.core.errors import GroundworkError
from groundwork.service.request_schema import Problem

Scope = Literal["predict", "outcomes", "metrics", "admin"]

OPEN = frozenset({"/health/live", "/health/ready"})
# All other paths require admin, which is enough for /metrics too.
SCOPES: Mapping[str, Scope] = {"/predict": "predict", "/outcomes": "outcomes", "/metrics": "metrics"}

# Common default keys, which are easy to guess although only their digests are stored.
_GUESSABLE = {
    hashlib.sha256(word.encode()).hexdigest()
    for word in ("", "admin", "changeme", "default", "groundwork", "key", "password", "secret", "test", "token")
}


class ApiKey(NamedTuple):
    """What is known of a key: the name by which the request log calls it, and its scopes."""

    name: str
    scopes: frozenset[str]


@dataclass(frozen=True)
class ApiKeys:
    """The keys, by their digests."""

    known: Mapping[str, ApiKey]

    @classmethod
    def parse(cls, setting: str) -> "ApiKeys":
        """Return the keys of `name:scope+scope:sha256, …`.

        Raises GroundworkError if an entry is malformed, or if its key is easy to guess.
        """
        known = {}
        for entry in filter(None, (entry.strip() for entry in setting.split(","))):
            name, _, rest = entry.partition(":")
            granted, _, digest = rest.partition(":")
            wanted = frozenset(granted.split("+"))
            if (
                not name
                or not wanted <= set(get_args(Scope))
                or len(digest) != 64
                or set(digest) - set("0123456789abcdef")
            ):
                raise GroundworkError(
                    f"GROUNDWORK_API_KEYS: the key {name!r} is not name:scopes:sha256 with scopes from "
                    f"{', '.join(get_args(Scope))}; create one with `groundwork key`"
                )
            if digest in _GUESSABLE:
                raise GroundworkError(f"GROUNDWORK_API_KEYS: the key {name!r} is a common default and easy to guess")
            known[digest] = ApiKey(name, wanted)
        return cls(known)

    def check(self, path: str, authorization: bytes | None) -> ApiKey | None:
        """Return the key in the Authorization header; None if the path needs none.

        Raises Problem 401 or 403 unless the header has a key for this path.
        """
        if path in OPEN:
            return None
        found = self.find(authorization)
        if found is None:
            raise Problem(
                401,
                "send an API key: Authorization: Bearer KEY; in a browser, enter it as the password, with any name",
                {"WWW-Authenticate": 'Bearer, Basic realm="groundwork", charset="UTF-8"'},
            )
        needed = SCOPES.get(path, "admin")
        if needed not in found.scopes and not (needed == "metrics" and "admin" in found.scopes):
            raise Problem(403, f"this request requires a key with the scope {needed}")
        return found

    def find(self, authorization: bytes | None) -> ApiKey | None:
        """Return the key in an Authorization header; None without one that is known."""
        scheme, _, key = (authorization or b"").partition(b" ")
        if scheme.lower() == b"basic":  # sent by a browser after it has asked for a password
            key = _password(key)
        elif scheme.lower() != b"bearer":
            key = b""
        return self.known.get(hashlib.sha256(key.strip()).hexdigest())


class KeyLimits:
    """Counts the requests of each API key, in windows of one second.

    The headers are those of draft-ietf-httpapi-ratelimit-headers-10: `RateLimit-Policy` has the quota q of a window of
    w seconds, `RateLimit` the requests r that remain, and the t seconds until the next window.
    """

    def __init__(self, per_second: int) -> None:
        self._quota = per_second
        self._counted: dict[str, tuple[int, int]] = {}  # by the key's name: the window, and the requests in it
        self._policy = (b"ratelimit-policy", b'"key";q=%d;w=1' % per_second)

    def count(self, key: ApiKey) -> tuple[bool, list[tuple[bytes, bytes]]]:
        """Count a request; return whether the key may make it, and the headers of the answer."""
        window = int(time.monotonic())
        last, made = self._counted.get(key.name, (window, 0))
        made = made + 1 if last == window else 1
        self._counted[key.name] = (window, made)
        remaining = b'"key";r=%d;t=1' % max(self._quota - made, 0)
        return made <= self._quota, [self._policy, (b"ratelimit", remaining)]


def refuse_other_sites(headers: Mapping[bytes, bytes], *, keyless: bool) -> None:
    """Raise Problem 403 for what a page of another site has a browser send.

    A browser sends on its own the password that it was told, and reaches a service without keys on its own machine.
    No page of another site can send a bearer key unless somebody gave it one, so a request with one is let through.
    """
    host = headers.get(b"host")
    if keyless and host is not None and not _names_this_machine(host):
        # The name of another site may be resolved to this machine (DNS rebinding): then its pages could read answers.
        raise Problem(403, "a service without API keys answers only to localhost and loopback addresses")
    origin = headers.get(b"origin")
    if origin is None or headers.get(b"sec-fetch-site") == b"same-origin":  # true also if a proxy changes the Host
        return
    if not keyless and headers.get(b"authorization", b"")[:7].lower() == b"bearer ":
        return
    if origin.partition(b"://")[2] != host:
        raise Problem(403, "the request was made by a page of another site")


@lru_cache(maxsize=64)
def _names_this_machine(host: bytes) -> bool:
    """Return whether a Host header, with or without a port, is localhost or a loopback address."""
    name = host.decode("latin-1").lower()
    if name.startswith("["):  # IPv6
        return _is_loopback(name[1:].partition("]")[0])
    return _is_loopback(name.partition(":")[0])


def _password(credentials: bytes) -> bytes:
    try:
        return base64.b64decode(credentials, validate=True).partition(b":")[2]
    except ValueError:
        return b""


def new_key(name: str, scopes: str) -> tuple[str, str]:
    """Return a random key, and its entry for GROUNDWORK_API_KEYS."""
    key = secrets.token_urlsafe(32)
    return key, f"{name}:{scopes}:{hashlib.sha256(key.encode()).hexdigest()}"


def keys_for(host: str, setting: str) -> ApiKeys | None:
    """Return the API keys; None if there are none and the service listens only on this machine.

    Raises GroundworkError if the service would listen on a network without API keys.
    """
    keys = ApiKeys.parse(setting)
    if keys.known:
        return keys
    if not _is_loopback(host):
        raise GroundworkError(
            f"the service would listen on {host} without API keys: set GROUNDWORK_API_KEYS (create a key with "
            "`groundwork key`), or listen on 127.0.0.1"
        )
    return None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
