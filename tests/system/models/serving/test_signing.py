"""What a trusted key has signed for this pilot is believed, and nothing else."""

import os
import stat
from pathlib import Path

import pytest
from groundwork.core.errors import GroundworkError, UntrustedBundle
from groundwork.core.settings import Settings
from groundwork.documents.pilot import Pilot
from groundwork.models.serving.signing import check_signature, sign, signer, trusted_keys
from pilots import write_pilot

DIGEST = "d" * 64


def check(pilot: Pilot, digest: str, signature: str) -> None:
    file = pilot.settings.home / "signature"
    file.write_text(signature)
    check_signature(pilot, digest, file)


@pytest.fixture
def here(new_pilot: Pilot) -> Pilot:
    """A pilot on a machine that has not signed anything yet."""
    assert not new_pilot.settings.signing_key_file.exists()
    return new_pilot


@pytest.fixture
def elsewhere(flights: Path, tmp_path: Path) -> Pilot:
    """The same pilot on another machine, with a key of its own."""
    write_pilot(tmp_path / "elsewhere", flights)
    return Pilot(Settings(home=tmp_path / "elsewhere"))


def test_the_first_signature_makes_a_key_that_its_owner_alone_may_read(here: Pilot) -> None:
    signature = sign(here, DIGEST)
    assert stat.S_IMODE(here.settings.signing_key_file.stat().st_mode) == 0o600
    assert [file.name for file in here.settings.data_folder.glob("*key*")] == ["signing-key.pem"]
    check(here, DIGEST, signature)
    assert sign(here, DIGEST) == signature  # by the same key


def test_what_was_not_signed_is_refused(here: Pilot) -> None:
    signature = sign(here, DIGEST)
    for digest, given in ((DIGEST.replace("d", "e"), signature), (DIGEST, "?"), (DIGEST, signature[:-8])):
        with pytest.raises(UntrustedBundle, match="no trusted key has signed the bundle"):
            check(here, digest, given)
    with pytest.raises(UntrustedBundle, match="not signed: train again"):
        check_signature(here, DIGEST, here.settings.home / "none")


def test_another_pilots_bundle_is_refused(here: Pilot, set_in) -> None:
    signature = sign(here, DIGEST)
    set_in(here.settings.home / "charter.yaml", "metadata.name", "another")
    with pytest.raises(UntrustedBundle):
        check(Pilot.here(), DIGEST, signature)


def test_a_stranger_is_refused_until_the_settings_list_his_key(
    here: Pilot, elsewhere: Pilot, monkeypatch: pytest.MonkeyPatch
) -> None:
    signature = sign(elsewhere, DIGEST)
    with pytest.raises(UntrustedBundle, match="set GROUNDWORK_TRUSTED_KEYS to its output"):
        check(here, DIGEST, signature)
    ours = signer(here)
    with pytest.raises(UntrustedBundle, match="with a key that is not in GROUNDWORK_TRUSTED_KEYS"):
        check(here, DIGEST, signature)
    monkeypatch.setenv("GROUNDWORK_TRUSTED_KEYS", f"{ours}, {signer(elsewhere)}")
    check(Pilot.here(), DIGEST, signature)
    check(Pilot.here(), DIGEST, sign(here, DIGEST))
    monkeypatch.setenv("GROUNDWORK_TRUSTED_KEYS", signer(elsewhere))  # now this machine's own is not among them
    with pytest.raises(UntrustedBundle):
        check(Pilot.here(), DIGEST, sign(here, DIGEST))


def test_the_key_may_come_from_elsewhere(here: Pilot, elsewhere: Pilot, monkeypatch: pytest.MonkeyPatch) -> None:
    public = signer(elsewhere)
    monkeypatch.setenv("GROUNDWORK_SIGNING_KEY", str(elsewhere.settings.signing_key_file))
    assert signer(Pilot.here()) == public
    assert not here.settings.signing_key_file.exists()
    monkeypatch.setenv("GROUNDWORK_SIGNING_KEY", str(here.settings.home / "none.pem"))
    with pytest.raises(GroundworkError, match=r"GROUNDWORK_SIGNING_KEY: the file .* does not exist"):
        sign(Pilot.here(), DIGEST)
    (here.settings.home / "none.pem").write_text("a password")
    with pytest.raises(GroundworkError, match="is not an Ed25519 private key"):
        sign(Pilot.here(), DIGEST)


@pytest.mark.parametrize("entry", ["a guess", "MCowBQYDK2Vw", "c3NoLWVkMjU1MTk="])
def test_a_key_that_is_none_is_named(here: Pilot, entry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROUNDWORK_TRUSTED_KEYS", f"{signer(here)},{entry}")
    with pytest.raises(GroundworkError, match=f"GROUNDWORK_TRUSTED_KEYS: '{entry}', entry 2, is not a public key"):
        trusted_keys(Pilot.here())


def test_of_two_keys_made_at_once_one_stays(here: Pilot, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def late(source: str, target: Path) -> None:
        """Another process is quicker."""
        monkeypatch.setattr(os, "link", link)
        theirs.append(signer(here))
        link(source, target)

    theirs: list[str] = []
    monkeypatch.setattr(os, "link", late)
    assert signer(here) == theirs[0]
