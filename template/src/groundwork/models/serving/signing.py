"""Signs the digest of a serving bundle with Ed25519, and tells which digests somebody trusted has signed.

Whoever holds the registry can alter a bundle together with the digest that is recorded beside it. So the digest is
signed where the model is trained, and checked with public keys that come from the pilot, never from the registry.
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
    """The signature of a bundle's digest, for this pilot. The first one on a laptop makes the key."""
    return base64.b64encode(_signing_key(pilot).sign(_message(pilot, sha256))).decode()


def check_signature(pilot: Pilot, sha256: str, file: Path) -> None:
    """Raise UntrustedBundle unless a trusted key has put the signature in this file to the digest, for this pilot."""
    keys = trusted_keys(pilot)
    if not keys:
        raise UntrustedBundle(
            "no signature is trusted here: set GROUNDWORK_TRUSTED_KEYS to what `groundwork signer` prints where the "
            "models are trained"
        )
    if not file.is_file():
        raise UntrustedBundle("the bundle is not signed: train again, with `groundwork train`")
    for key in keys:
        try:
            return key.verify(base64.b64decode(file.read_bytes()), _message(pilot, sha256))
        except (InvalidSignature, ValueError):
            continue
    raise UntrustedBundle(
        "no trusted key has signed the bundle: somebody altered it, or whoever trained it is a stranger here; "
        "GROUNDWORK_TRUSTED_KEYS lists who is not"
    )


def trusted_keys(pilot: Pilot) -> list[Ed25519PublicKey]:
    """The keys of the pilot; if there are none, the one that signs on this machine, if it has been made."""
    entries = [entry.strip() for entry in pilot.settings.trusted_keys.split(",") if entry.strip()]
    if entries:
        return [_public_key(entry) for entry in entries]
    if pilot.settings.signing_key_file.exists():
        return [_load(pilot.settings.signing_key_file).public_key()]
    return []


def signer(pilot: Pilot) -> str:
    """The public half of the key that signs here, as GROUNDWORK_TRUSTED_KEYS takes it. The key is made if need be."""
    public = _signing_key(pilot).public_key()
    return base64.b64encode(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


def _message(pilot: Pilot, sha256: str) -> bytes:
    """What is signed: a bundle of another pilot is none of this one, whoever signed it."""
    return f"groundwork bundle\n{pilot.name}\n{sha256}".encode()


def _public_key(entry: str) -> Ed25519PublicKey:
    try:
        key = load_der_public_key(base64.b64decode(entry, validate=True))
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise GroundworkError(
            f"GROUNDWORK_TRUSTED_KEYS: {entry!r} is no public key: take what `groundwork signer` prints, several with "
            "commas between them"
        )
    return key


def _signing_key(pilot: Pilot) -> Ed25519PrivateKey:
    file = pilot.settings.signing_key_file
    if not file.exists():
        if pilot.settings.signing_key:
            raise GroundworkError(f"GROUNDWORK_SIGNING_KEY: there is no file {file}")
        _make(file)
    return _load(file)


def _load(file: Path) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(file.read_bytes(), password=None)
    except OSError as error:
        raise GroundworkError(f"the key that signs models cannot be read: {error}") from error
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: it has a password
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise GroundworkError(
            f"{file} is no key to sign with: `openssl genpkey -algorithm ed25519` makes one, without a password"
        )
    return key


def _make(file: Path) -> None:
    """Write a new key that its owner alone may read. Of two who do so at once, the first one's stays."""
    content = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=file.parent) as temporary:  # with the mode 0600
        temporary.write(content)
        temporary.flush()
        try:
            os.link(temporary.name, file)
        except FileExistsError:
            return
