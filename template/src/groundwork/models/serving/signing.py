"""Signs with Ed25519 what must not be forged, and checks signatures against trusted keys.

A person with write access to the registry can alter a bundle and its recorded digest, and one with write access to the
store can add an entry to the promotion log. So both are signed where models are trained and promoted, and checked with
public keys that come from the pilot's settings, never from the registry or the store.
"""

import base64
import os
import shlex
import subprocess
import tempfile
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Literal, NamedTuple

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
    load_pem_private_key,
)

from groundwork.core.errors import GroundworkError, UntrustedBundle
from groundwork.documents.pilot import Pilot

Kind = Literal["bundle", "verdict", "promotion"]  # what is signed: a signature of one kind is none of another
SETTING = "GROUNDWORK_TRUSTED_KEYS"
UNTRUSTED = (
    f"no signature is trusted here: run `groundwork signer` where models are trained, and set {SETTING} to its output"
)
COMMAND_SECONDS = 60


class TrustedKey(NamedTuple):
    """A public key whose signatures are accepted, and the last day (UTC) on which it may sign; None if it has none."""

    public: Ed25519PublicKey
    until: date | None

    def may_sign(self, on: date) -> bool:
        """Whether the key may sign on this day."""
        return self.until is None or on <= self.until


def sign(pilot: Pilot, content: str, kind: Kind = "bundle") -> str:
    """Return the signature of a bundle's digest, or of another content, for this pilot, in base64.

    The key is in a file, which is created if it is not set and missing, or behind GROUNDWORK_SIGNING_COMMAND.
    Raises GroundworkError if the key cannot be read, or if the command gives no signature of a trusted key.
    """
    message = _message(pilot, content, kind)
    if pilot.settings.signing_command:
        signature = _ask_command(pilot.settings.signing_command, message)
        if not is_signed(pilot, content, signature, kind):
            raise GroundworkError("GROUNDWORK_SIGNING_COMMAND: what it printed is not the signature of a trusted key")
        return signature
    return base64.b64encode(_signing_key(pilot).sign(message)).decode()


def is_signed(pilot: Pilot, content: str, signature: str, kind: Kind, on: date | None = None) -> bool:
    """Return whether a key that may sign on this day, by default today, has signed the content for this pilot."""
    day = on or datetime.now(UTC).date()
    message = _message(pilot, content, kind)
    try:
        decoded = base64.b64decode(signature)
    except ValueError:
        return False
    return any(key.may_sign(day) and _verifies(key.public, decoded, message) for key in trusted_keys(pilot))


def check_signature(pilot: Pilot, sha256: str, file: Path) -> None:
    """Check the signature in `file`: raise UntrustedBundle unless a trusted key signed the digest for this pilot."""
    if not trusted_keys(pilot):
        raise UntrustedBundle(UNTRUSTED)
    if not file.is_file():
        raise UntrustedBundle("the bundle is not signed: train again with `groundwork train`")
    signature = file.read_bytes().decode("ascii", "replace")
    if is_signed(pilot, sha256, signature, "bundle"):
        return
    if is_signed(pilot, sha256, signature, "bundle", date.min):
        raise UntrustedBundle(f"the key that signed the bundle has ended, by {SETTING}: run `groundwork train`")
    raise UntrustedBundle(
        f"no trusted key has signed the bundle: it was altered, or it was trained with a key that is not in {SETTING}"
    )


def trusted_keys(pilot: Pilot) -> list[TrustedKey]:
    """Return the keys of GROUNDWORK_TRUSTED_KEYS; without the setting, the signing key of this machine if it exists.

    An entry is a public key in base64, bare or as `groundwork signer` prints it, and may end in ` until YYYY-MM-DD`.
    Raises GroundworkError if an entry is malformed; the message says which.
    """
    entries = [entry.strip() for entry in pilot.settings.trusted_keys.replace("\n", ",").split(",") if entry.strip()]
    if entries:
        return [_trusted(number, entry) for number, entry in enumerate(entries, 1)]
    if pilot.settings.signing_key_file.exists():
        return [TrustedKey(_load(pilot.settings.signing_key_file).public_key(), None)]
    return []


def signer(pilot: Pilot) -> str:
    """Return this machine's public key in the form of GROUNDWORK_TRUSTED_KEYS; create the key if there is none.

    Raises GroundworkError if a command signs here, because only its key management knows the public key.
    """
    if pilot.settings.signing_command:
        raise GroundworkError(
            "GROUNDWORK_SIGNING_COMMAND signs here: ask the key management behind it for the public key, as DER "
            f"(SubjectPublicKeyInfo) in base64, and put that into {SETTING}"
        )
    public = _signing_key(pilot).public_key()
    return base64.b64encode(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


def holds_key(pilot: Pilot) -> bool:
    """Return whether this machine can sign: it has a signing key, or a command that signs."""
    return bool(pilot.settings.signing_command) or pilot.settings.signing_key_file.exists()


def _message(pilot: Pilot, content: str, kind: Kind) -> bytes:
    """Return the signed message; it names the pilot, so that a bundle of another pilot is not accepted."""
    return f"groundwork {kind}\n{pilot.name}\n{content}".encode()


def _verifies(key: Ed25519PublicKey, signature: bytes, message: bytes) -> bool:
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True


def _trusted(number: int, entry: str) -> TrustedKey:
    text, _, end = entry.removeprefix(f"{SETTING}=").strip("\"'").partition(" until ")
    try:
        key = load_der_public_key(base64.b64decode(text.strip(), validate=True))
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise GroundworkError(
            f"{SETTING}: {entry!r}, entry {number}, is not a public key: use the output of `groundwork signer`, and "
            "separate several keys by commas"
        )
    try:
        return TrustedKey(key, date.fromisoformat(end.strip()) if end else None)
    except ValueError:
        raise GroundworkError(f"{SETTING}: {entry!r}, entry {number}, ends on no day: write YYYY-MM-DD") from None


def _ask_command(command: str, message: bytes) -> str:
    """Return what the command prints, the signature of the message on its standard input, without white space."""
    try:
        done = subprocess.run(shlex.split(command), input=message, capture_output=True, timeout=COMMAND_SECONDS)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise GroundworkError(f"GROUNDWORK_SIGNING_COMMAND cannot be run: {error}") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise GroundworkError(f"GROUNDWORK_SIGNING_COMMAND failed with exit code {done.returncode}: {said}")
    return "".join(done.stdout.decode("ascii", "replace").split())


def _signing_key(pilot: Pilot) -> Ed25519PrivateKey:
    file = pilot.settings.signing_key_file
    if not file.exists():
        if pilot.settings.signing_key:
            raise GroundworkError(f"GROUNDWORK_SIGNING_KEY: the file {file} does not exist")
        _make(file)
    return _load(file)


def _load(file: Path) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(file.read_bytes(), password=None)
    except OSError as error:
        raise GroundworkError(f"the signing key cannot be read: {error}") from error
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: it has a password
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise GroundworkError(
            f"{file} is not an Ed25519 private key without a password: create one with "
            "`openssl genpkey -algorithm ed25519`"
        )
    return key


def _make(file: Path) -> None:
    """Write a new key that only its owner may read. If two processes do so at the same time, the first key stays."""
    content = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=file.parent) as temporary:  # creates the file with mode 0600
        temporary.write(content)
        temporary.flush()
        try:
            os.link(temporary.name, file)
        except FileExistsError:
            return
