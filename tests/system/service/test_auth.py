import base64
import hashlib

import pytest
from groundwork.core.errors import GroundworkError
from groundwork.service.auth import ApiKeys, keys_for, new_key
from groundwork.service.request_schema import Problem


@pytest.fixture
def keys() -> tuple[ApiKeys, str, str]:
    """Two keys at once: one that may predict, one that may do the rest."""
    asker, asks = new_key("asker", "predict")
    keeper, keeps = new_key("keeper", "outcomes+admin")
    return ApiKeys.parse(f"{asks}, {keeps}"), asker, keeper


@pytest.mark.parametrize("path", ["/predict", "/outcomes", "/metrics", "/docs", "/openapi.json", "/anything"])
@pytest.mark.parametrize("sent", [None, b"", b"Bearer", b"Bearer a guess", b"Basic YTpi"])
def test_everything_but_health_needs_a_key(keys: tuple[ApiKeys, str, str], path: str, sent: bytes | None) -> None:
    with pytest.raises(Problem) as refusal:
        keys[0].check(path, sent)
    assert refusal.value.status == 401
    assert refusal.value.headers["WWW-Authenticate"].startswith("Bearer, Basic ")


def test_health_is_open(keys: tuple[ApiKeys, str, str]) -> None:
    keys[0].check("/health/live", None)
    keys[0].check("/health/ready", None)


def test_a_key_opens_what_its_scopes_name(keys: tuple[ApiKeys, str, str]) -> None:
    allowed, asker, keeper = keys
    allowed.check("/predict", f"Bearer {asker}".encode())
    allowed.check("/outcomes", f"bearer {keeper}".encode())
    allowed.check("/metrics", f"Bearer {keeper}".encode())
    for path, key in (("/outcomes", asker), ("/metrics", asker), ("/predict", keeper)):
        with pytest.raises(Problem) as refusal:
            allowed.check(path, f"Bearer {key}".encode())
        assert refusal.value.status == 403


def test_metrics_are_read_with_a_scope_of_their_own_or_as_before_with_admin() -> None:
    made = {scopes: new_key(f"of-{scopes}", scopes) for scopes in ("metrics", "admin", "predict+outcomes")}
    allowed = ApiKeys.parse(",".join(entry for _, entry in made.values()))
    for scopes in ("metrics", "admin"):
        allowed.check("/metrics", f"Bearer {made[scopes][0]}".encode())
    for scopes, path in (("metrics", "/"), ("metrics", "/predict"), ("predict+outcomes", "/metrics")):
        with pytest.raises(Problem, match="a key with the scope ") as refusal:
            allowed.check(path, f"Bearer {made[scopes][0]}".encode())
        assert refusal.value.status == 403


def test_a_browser_sends_the_key_as_a_password(keys: tuple[ApiKeys, str, str]) -> None:
    allowed, _, keeper = keys
    allowed.check("/", b"Basic " + base64.b64encode(f"ada:{keeper}".encode()))
    for wrong in (base64.b64encode(b"ada:guess"), base64.b64encode(keeper.encode()), b"not base64"):
        with pytest.raises(Problem) as refusal:
            allowed.check("/", b"Basic " + wrong)
        assert refusal.value.status == 401


def test_without_keys_only_this_machine_is_listened_to() -> None:
    assert keys_for("127.0.0.1", "") is keys_for("localhost", "") is keys_for("::1", "") is None
    for host in ("0.0.0.0", "10.0.0.5", "::", "example.org"):
        with pytest.raises(GroundworkError, match="set GROUNDWORK_API_KEYS"):
            keys_for(host, "")


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("a key as it is", "create one with `groundwork key`"),
        ("ops:predict:abc", "is not name:scopes:sha256"),
        (f"ops:everything:{'0' * 64}", "is not name:scopes:sha256"),
        (f":predict:{'0' * 64}", "is not name:scopes:sha256"),
        (f"ops:predict:{hashlib.sha256(b'').hexdigest()}", "is a common default and easy to guess"),
        (f"ops:predict:{hashlib.sha256(b'changeme').hexdigest()}", "is a common default and easy to guess"),
    ],
)
def test_a_bad_key_refuses_to_start(setting: str, complaint: str) -> None:
    with pytest.raises(GroundworkError, match=complaint):
        keys_for("0.0.0.0", setting)
