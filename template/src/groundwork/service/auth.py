"""API keys, stored as digests. Several may be valid at a time, so that one can be replaced without downtime."""

import base64
import hashlib
import ipaddress
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from groundwork.core.errors import GroundworkError
from groundwork.service.request_schema import Problem

Scope = Literal["predict", "outcomes", "admin"]

OPEN = frozenset({"/health/live", "/health/ready"})
SCOPES: Mapping[str, Scope] = {"/predict": "predict", "/outcomes": "outcomes"}  # all other paths require admin

# Common default keys, which are easy to guess although only their digests are stored.
_GUESSABLE = {
    hashlib.sha256(word.encode()).hexdigest()
    for word in ("", "admin", "changeme", "default", "groundwork", "key", "password", "secret", "test", "token")
}


@dataclass(frozen=True)
class ApiKeys:
    """The scopes of each key, by the key's digest."""

    scopes: Mapping[str, frozenset[str]]

    @classmethod
    def parse(cls, setting: str) -> "ApiKeys":
        """Return the keys of `name:scope+scope:sha256, …`.

        Raises GroundworkError if an entry is malformed, or if its key is easy to guess.
        """
        scopes = {}
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
            scopes[digest] = wanted
        return cls(scopes)

    def check(self, path: str, authorization: bytes | None) -> None:
        """Raise Problem 401 or 403 unless the Authorization header has a key for this path."""
        if path in OPEN:
            return
        scheme, _, key = (authorization or b"").partition(b" ")
        if scheme.lower() == b"basic":  # sent by a browser after it has asked for a password
            key = _password(key)
        elif scheme.lower() != b"bearer":
            key = b""
        granted = self.scopes.get(hashlib.sha256(key.strip()).hexdigest())
        if granted is None:
            raise Problem(
                401,
                "send an API key: Authorization: Bearer KEY; in a browser, enter it as the password, with any name",
                {"WWW-Authenticate": 'Bearer, Basic realm="groundwork", charset="UTF-8"'},
            )
        needed = SCOPES.get(path, "admin")
        if needed not in granted:
            raise Problem(403, f"this request requires a key with the scope {needed}")


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
    if keys.scopes:
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
