"""The newest entry of the promotion log that a trusted key has signed decides; no other row counts."""

import base64
import shlex
import sys
from pathlib import Path

import pytest
from commands import groundwork
from groundwork.core.errors import GroundworkError, PromotionError
from groundwork.core.settings import Settings
from groundwork.documents.pilot import Pilot
from groundwork.models.registry.mending import mend
from groundwork.models.registry.promotion import switch
from groundwork.models.serving.chain import Chain, read_chain
from groundwork.models.serving.signing import sign, signer
from groundwork.store.database import Store
from groundwork.store.promotion_log import Promotion
from registries import write_entry
from stores import change

GUARDS = ("promotions_are_not_updated", "promotions_are_not_deleted", "promotions_are_not_replaced")


def chain(pilot: Pilot) -> Chain:
    with Store(pilot.settings.store) as store:
        return read_chain(pilot, store)


def deciding(pilot: Pilot) -> str | None:
    newest = chain(pilot).deciding
    return newest.to_version if newest else None


def tamper(pilot: Pilot, statement: str) -> None:
    """As the owner of the tables can: without the triggers."""
    for guard in GUARDS:
        change(pilot.settings.store, f"drop trigger if exists {guard}")
    change(pilot.settings.store, statement)


def forge(pilot: Pilot, **fields: object) -> Promotion:
    """A row written by hand, under the name of an approver."""
    with Store(pilot.settings.store) as store:
        newest = store.promotions.of(pilot.name)[-1]
        forged = newest._replace(number=newest.number + 1, to_version="66", promoted_by="ada", why="approved")
        forged = forged._replace(**fields)  # type: ignore[arg-type]
        assert store.promotions.append(forged)
    return forged


@pytest.fixture
def promoted(new_pilot: Pilot) -> Pilot:
    """A pilot of which three versions became champion, one after the other."""
    for number in ("1", "2", "3"):
        write_entry(new_pilot, to_version=number, bundle_sha256=number * 64, from_version=str(int(number) - 1))
    return new_pilot


def test_each_entry_is_signed_and_names_the_one_before(promoted: Pilot) -> None:
    found = chain(promoted)
    assert found.breaks == ()
    assert [entry.number for entry in found.entries] == [1, 2, 3]
    assert [bool(entry.previous_sha256) for entry in found.entries] == [False, True, True]
    assert deciding(promoted) == "3"


@pytest.mark.parametrize("signature", ["", "signed", "its own"])
def test_a_row_written_by_hand_decides_nothing_and_is_told(signature: str, promoted: Pilot) -> None:
    if signature == "its own":
        forge(promoted)  # with the signature of the entry before it
    else:
        forge(promoted, signature=signature)
    found = chain(promoted)
    assert deciding(promoted) == "3"
    assert found.breaks == ("entry 4 is not signed by a trusted key",)
    with pytest.raises(PromotionError, match="not as it was written: entry 4 is not signed by a trusted key"):
        found.require_whole()


@pytest.mark.parametrize(
    "field", ["to_version", "bundle_sha256", "evidence_sha256", "verdict", "serves", "promoted_by", "why", "kind"]
)
def test_no_field_of_an_entry_can_be_changed(field: str, promoted: Pilot) -> None:
    tamper(promoted, f"update promotions set {field} = 'other' where number = 3")
    assert deciding(promoted) == "2"
    assert chain(promoted).breaks == ("entry 3 is not signed by a trusted key",)


def test_an_entry_counts_under_its_own_number_and_pilot_alone(promoted: Pilot) -> None:
    tamper(promoted, "update promotions set number = 4 where number = 1")
    assert deciding(promoted) == "3"
    assert "entry 4 is not signed by a trusted key" in chain(promoted).breaks


@pytest.mark.parametrize(
    "statement", ["delete from promotions where number = 2", "update promotions set why = '' where number = 2"]
)
def test_what_was_removed_or_altered_in_between_is_told_and_the_newest_decides(statement: str, promoted: Pilot) -> None:
    tamper(promoted, statement)
    assert "entry 3 does not follow the one before it, which was altered or removed" in chain(promoted).breaks
    assert deciding(promoted) == "3"


def test_an_entry_signed_by_a_stranger_counts_for_nothing(promoted: Pilot, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = signer(promoted)
    promoted.settings.signing_key_file.rename(promoted.settings.data_folder / "ours.pem")
    write_entry(Pilot.here(), to_version="66")  # with a new key, which its own machine trusts
    monkeypatch.setenv("GROUNDWORK_TRUSTED_KEYS", ours)
    assert deciding(Pilot.here()) == "3"
    with pytest.raises(PromotionError, match="the signing key of this machine is not among GROUNDWORK_TRUSTED_KEYS"):
        write_entry(Pilot.here(), to_version="67")
    assert len(chain(Pilot.here()).breaks) == 1


def test_two_people_mend_it_and_what_was_forged_never_counts(promoted: Pilot) -> None:
    with Store(promoted.settings.store) as store, pytest.raises(PromotionError, match="there is nothing to mend"):
        mend(promoted, store, by="ada", approved_by="grace", why="x")
    forge(promoted, to_version="no number")
    with Store(promoted.settings.store) as store:
        for by, second, said in (
            ("ada", "ada", "two people must agree"),
            ("ada", "mallory", "mallory is not a handle"),
        ):
            with pytest.raises(PromotionError, match=said):
                mend(promoted, store, by=by, approved_by=second, why="x")
    told = groundwork("verify")
    assert told.returncode == 1
    assert "✗ verify   entry 4 is not signed by a trusted key" in told.stdout
    assert "entry 3 counts: version 3 is champion" in told.stdout
    done = groundwork("verify", "--mend", "--by", "ada", "--approved-by", "grace", "--why", "mallory's row")
    assert done.returncode == 0, done.stdout
    found = chain(promoted)
    assert (found.breaks, deciding(promoted)) == ((), "3")
    assert [entry.number for entry in found.entries] == [1, 2, 3, 5]
    assert found.entries[-1].why == "mallory's row; accepted as it is: entry 4 is not signed by a trusted key"
    assert found.entries[-1].promoted_by.startswith("ada and grace")
    write_entry(promoted, to_version="4", from_version="3")
    assert (chain(promoted).breaks, deciding(promoted)) == ((), "4")


def test_a_key_that_has_ended_signs_nothing_new_and_what_it_signed_stays(
    promoted: Pilot, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = signer(promoted)
    promoted.settings.signing_key_file.unlink()
    new = signer(promoted)
    monkeypatch.setenv("GROUNDWORK_TRUSTED_KEYS", f"{old} until 2999-12-31\nGROUNDWORK_TRUSTED_KEYS={new}")
    assert (chain(Pilot.here()).breaks, deciding(Pilot.here())) == ((), "3")
    write_entry(Pilot.here(), to_version="4", from_version="3")
    assert (chain(Pilot.here()).breaks, deciding(Pilot.here())) == ((), "4")
    monkeypatch.setenv("GROUNDWORK_TRUSTED_KEYS", f"{old} until 2026-01-01,{new}")
    assert [entry.to_version for entry in chain(Pilot.here()).entries] == ["4"]


def test_a_command_signs_in_place_of_a_file(new_pilot: Pilot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vault = Pilot(Settings(home=new_pilot.settings.home, data=tmp_path / "vault"))
    public = signer(vault)
    program = tmp_path / "sign.py"
    program.write_text(
        "import base64, sys\n"
        "from cryptography.hazmat.primitives.serialization import load_pem_private_key\n"
        f"key = load_pem_private_key(open({str(vault.settings.signing_key_file)!r}, 'rb').read(), None)\n"
        "print(base64.b64encode(key.sign(sys.stdin.buffer.read())).decode())\n"
    )
    monkeypatch.setenv("GROUNDWORK_SIGNING_COMMAND", shlex.join([sys.executable, str(program)]))
    monkeypatch.setenv("GROUNDWORK_TRUSTED_KEYS", public)
    write_entry(Pilot.here(), to_version="1")
    assert deciding(Pilot.here()) == "1"
    assert not new_pilot.settings.signing_key_file.exists()
    with pytest.raises(GroundworkError, match="ask the key management behind it for the public key"):
        signer(Pilot.here())
    for command, said in (
        (f"{sys.executable} -c 'import sys; sys.exit(\"locked\")'", "failed with exit code 1: locked"),
        ("printf aGVsbG8=", "is not the signature of a trusted key"),
        ("/no/such/command", "cannot be run"),
    ):
        monkeypatch.setenv("GROUNDWORK_SIGNING_COMMAND", command)
        with pytest.raises(GroundworkError, match=f"GROUNDWORK_SIGNING_COMMAND.*{said}"):
            sign(Pilot.here(), "0" * 64)


def test_the_switch_stays_thrown_whatever_is_promoted(promoted: Pilot) -> None:
    with Store(promoted.settings.store) as store:
        entry = switch(promoted, store, "no-model", by="ada", why="it harms")
        assert (entry.serves, entry.to_version, entry.promoted_by, entry.why) == ("no-model", "3", "ada", "it harms")
        assert switch(promoted, store, "no-model", by="grace", why="again") == entry
    write_entry(promoted, to_version="4", from_version="3")
    newest = chain(promoted).deciding
    assert newest is not None
    assert (newest.serves, newest.to_version) == ("no-model", "4")
    forge(promoted, serves="model", signature="")  # nobody who forges an entry hinders it
    assert groundwork("switch", "model", "--by", "ada", "--why", "mended").returncode == 0
    newest = chain(promoted).deciding
    assert newest is not None
    assert (newest.serves, newest.to_version, newest.number) == ("model", "4", 7)


def test_the_signature_of_one_kind_is_none_of_another(promoted: Pilot) -> None:
    entry = chain(promoted).entries[-1]
    assert base64.b64decode(entry.signature) != base64.b64decode(sign(promoted, entry.bundle_sha256))
    assert sign(promoted, "x", "verdict") != sign(promoted, "x", "bundle")
