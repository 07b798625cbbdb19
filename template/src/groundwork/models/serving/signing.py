"""Signs the digest of a serving bundle with Ed25519, and checks the signature against trusted keys.

A person with write access to the registry can alter a bundle and its recorded digest. So the digest is signed where the
model is trained, and checked with public keys that come from the pilot's settings, never from the registry.
"""

import base64
import os
import tempfile
from pathlib import Path

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


def sign(pilot: Pilot, sha256: str) -> str:
    """Return the signature of a bundle's digest for this pilot, in base64; create the signing key if there is none.

    Raises GroundworkError if the key cannot be read.
    """
    return base64.b64encode(_signing_key(pilot).sign(_message(pilot, sha256))).decode()


def check_signature(pilot: Pilot, sha256: str, file: Path) -> None:
    """Check the signature in `file`: raise UntrustedBundle unless a trusted key signed the digest for this pilot."""
    keys = trusted_keys(pilot)
    if not keys:
        raise UntrustedBundle(
            "no signature is trusted here: run `groundwork signer` where the models are trained, and set "
            "GROUNDWORK_TRUSTED_KEYS to its output"
        )
    if not file.is_file():
        raise UntrustedBundle("the bundle is not signed: train again with `groundwork train`")
    for key in keys:
        try:
            return key.verify(base64.b64decode(file.read_bytes()), _message(pilot, sha256))
        except (InvalidSignature, ValueError):
            continue
    raise UntrustedBundle(
        "no trusted key has signed the bundle: it was altered, or it was trained with a key that is not in "
        "GROUNDWORK_TRUSTED_KEYS"
    )


def trusted_keys(pilot: Pilot) -> list[Ed25519PublicKey]:
    """Return the keys of GROUNDWORK_TRUSTED_KEYS; without the setting, the signing key of this machine if it exists."""
    entries = [entry.strip() for entry in pilot.settings.trusted_keys.split(",") if entry.strip()]
    if entries:
        return [_public_key(entry) for entry in entries]
    if pilot.settings.signing_key_file.exists():
        return [_load(pilot.settings.signing_key_file).public_key()]
    return []


def signer(pilot: Pilot) -> str:
    """Return this machine's public key in the form of GROUNDWORK_TRUSTED_KEYS; create the key if there is none."""
    public = _signing_key(pilot).public_key()
    return base64.b64encode(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


def _message(pilot: Pilot, sha256: str) -> bytes:
    """Return the signed message; it names the pilot, so that a bundle of another pilot is not accepted."""
    return f"groundwork bundle\n{pilot.name}\n{sha256}".encode()


def _public_key(entry: str) -> Ed25519PublicKey:
    try:
        key = load_der_public_key(base64.b64decode(entry, validate=True))
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise GroundworkError(
            f"GROUNDWORK_TRUSTED_KEYS: {entry!r} is not a public key: use the output of `groundwork signer`, and "
            "separate several keys by commas"
        )
    return key


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
