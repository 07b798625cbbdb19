"""Makes the secrets of compose.yaml, one file each in secrets/: `uv run python ops/compose/make_secrets.py`.

A file that is there already is kept, so that running it again makes only what is missing. The folder is closed to other
users of this machine; the files in it are not, because the users of the containers have numbers of their own.
"""

import secrets

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from groundwork.core.settings import Settings
from groundwork.documents.pilot import Pilot
from groundwork.models.serving.signing import signer
from groundwork.service.auth import new_key

PASSWORDS = ("postgres", "groundwork", "mlflow", "prefect", "grafana")


def main() -> None:
    """Write the files that are missing, and print their names."""
    home = Pilot.here().settings.home
    folder = home / "secrets"
    folder.mkdir(mode=0o700, exist_ok=True)

    def write(name: str, value: str) -> None:
        (folder / name).write_text(value, encoding="utf-8")
        (folder / name).chmod(0o644)
        print(f"secrets/{name}")

    def keep(name: str, value: str) -> None:
        if not (folder / name).exists():
            write(name, value)

    for name in PASSWORDS:
        keep(f"{name}_password", secrets.token_urlsafe(32))
    keep("s3_secret", secrets.token_urlsafe(32))
    if not all((folder / name).exists() for name in ("admin_key", "client_key", "api_keys")):
        # One set: the service knows the keys by their digests alone.
        keys = {"admin": "predict+outcomes+admin", "client": "predict+outcomes"}
        made = {name: new_key(name, scopes) for name, scopes in keys.items()}
        for name, (key, _) in made.items():
            write(f"{name}_key", key)
        write("api_keys", ",".join(entry for _, entry in made.values()))
    key = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    keep("signing_key", key.decode())
    trusted = signer(Pilot(Settings(home=home, signing_key=str(folder / "signing_key"))))
    before = (folder / "trusted_keys").read_text(encoding="utf-8").strip() if (folder / "trusted_keys").exists() else ""
    if trusted not in before:  # what earlier keys signed stays trusted
        write("trusted_keys", f"{before},{trusted}".strip(","))
    keep("source_url", "")  # empty: the example's operational system


if __name__ == "__main__":
    main()
