"""What is sent is repeated nowhere and makes no series of its own, and what comes from elsewhere is refused."""

import http.client
import json
import os
import signal
import time
from contextlib import closing

import pytest
from groundwork.documents.pilot import Pilot
from groundwork.service.auth import new_key, refuse_other_sites
from groundwork.service.request_schema import Problem
from serving import FROM_CACHE, Service, serving


def test_a_thousand_strange_paths_make_no_series(shared_service: Service) -> None:
    shared_service.ask("/nowhere")
    before = shared_service.ask("/metrics")[1]["text"].count("\n")
    connection = http.client.HTTPConnection("127.0.0.1", shared_service.port, timeout=20)
    for number in range(1000):
        connection.request("GET", f"/{os.urandom(4).hex()}/{number}")
        response = connection.getresponse()
        response.read()
        assert response.status == 404
    assert shared_service.ask("/metrics")[1]["text"].count("\n") < before + 50


def test_no_secret_and_no_record_is_ever_repeated(pilot_copy: Pilot) -> None:
    """Neither in an error, nor in the log, nor in the metrics: what was sent stands in the prediction log alone."""
    key, entry = new_key("tests", "predict+outcomes+admin")
    secret = "s3cr3t-d0-n0t-t3ll"
    with serving(pilot_copy, **FROM_CACHE, GROUNDWORK_API_KEYS=entry) as service:
        bad = service.body.replace(b"2013", secret.encode())
        said = [service.ask("/predict", service.body, {"Authorization": f"Bearer {secret}"})]
        for path, body in (("/predict", bad), ("/outcomes", bad), (f"/{secret}", bad), ("/predict", bad[:-1])):
            said.append(service.ask(path, body, {"Authorization": f"Bearer {key}", "X-Secret": secret}))
        said.append(service.ask("/metrics", headers={"Authorization": f"Bearer {key}"}))
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(20) == 0
    assert [status for status, _ in said] == [401, 422, 422, 404, 422, 200]
    everything = service.log.read_text() + json.dumps(said)
    assert secret not in everything
    assert key not in everything


def answered(service: Service, method: str, path: str, **headers: str) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=20)
    body = service.body if method == "POST" else None
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    response = connection.getresponse()
    return response.status, response.headers, response.read()


@pytest.mark.parametrize("path", ["/", "/scorecard", "/docs", "/status", "/metrics", "/health/ready", "/nowhere"])
def test_no_answer_is_kept_guessed_at_or_framed(path: str, shared_service: Service) -> None:
    _, headers, _ = answered(shared_service, "GET", path)
    assert (headers["cache-control"], headers["x-content-type-options"]) == ("no-store", "nosniff")
    [policy] = headers.get_all("content-security-policy")
    assert policy.startswith("default-src 'none'; ")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


def test_a_prediction_is_not_kept_either(shared_service: Service) -> None:
    status, headers, _ = answered(shared_service, "POST", "/predict")
    assert (status, headers["cache-control"], headers["x-content-type-options"]) == (200, "no-store", "nosniff")


@pytest.mark.parametrize("path", ["/", "/scorecard", "/docs", "/openapi.json", "/metrics", "/health/live", "/nowhere"])
def test_head_answers_as_get_does_without_the_body(path: str, shared_service: Service) -> None:
    (status, headers, body), (expected, of_get, _) = (
        answered(shared_service, method, path) for method in ("HEAD", "GET")
    )
    assert (status, headers["content-type"], body) == (expected, of_get["content-type"], b"")
    assert path == "/metrics" or headers["content-length"] == of_get["content-length"]
    assert answered(shared_service, "POST", "/status")[1]["allow"] == "GET, HEAD"
    assert answered(shared_service, "HEAD", "/predict")[0] == 405


@pytest.mark.parametrize("path", ["/predict", "/outcomes"])
@pytest.mark.parametrize(
    ("sent", "refused"),
    [
        ({}, False),
        ({"content_type": "Application/JSON; charset=utf-8"}, False),
        ({"content_type": "application/vnd.example+json"}, False),
        ({"content_type": "text/plain"}, True),
        ({"content_type": "application/x-www-form-urlencoded"}, True),
        ({"content_type": "text/plain; application/json"}, True),
    ],
)
def test_a_body_that_is_said_to_be_no_json_is_refused(
    path: str, sent: dict[str, str], refused: bool, shared_service: Service
) -> None:
    status, headers, body = answered(shared_service, "POST", path, **sent)
    assert (status == 415) is refused
    if refused:
        assert headers["content-type"] == "application/problem+json"
        assert json.loads(body)["detail"].endswith("Content-Type: application/json")


def test_a_service_without_keys_answers_to_its_own_machines_names_and_pages_only(shared_service: Service) -> None:
    port = shared_service.port
    for host in ("localhost", f"LOCALHOST:{port}", "127.0.0.1", "127.1.2.3:80", "[::1]:8000", "[::1]"):
        assert answered(shared_service, "GET", "/status", host=host)[0] == 200, host
    for host in ("example.org", f"rebound.example.org:{port}", "10.0.0.1", "localhost.example.org", "[fe80::1]", ""):
        for path in ("/status", "/health/ready", "/metrics"):
            assert answered(shared_service, "GET", path, host=host)[0] == 403, host
    own = f"http://127.0.0.1:{port}"
    for origin in ("https://example.org", f"http://127.0.0.1:{port + 1}", "null"):
        for path in ("/predict", "/outcomes"):
            status, headers, body = answered(shared_service, "POST", path, origin=origin)
            assert (status, headers["content-type"]) == (403, "application/problem+json")
            assert b"another site" in body
    assert answered(shared_service, "POST", "/predict", origin=own)[0] == 200


def test_a_browser_with_a_password_sends_nothing_for_another_site() -> None:
    def refused(**headers: str) -> bool:
        try:
            sent = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
            refuse_other_sites(sent, keyless=False)
        except Problem as problem:
            return problem.status == 403
        return False

    elsewhere = {"host": "pilot.example.org", "origin": "https://evil.example.org"}
    assert refused(**elsewhere)
    assert refused(**elsewhere, authorization="Basic YTpi")
    assert refused(**elsewhere, authorization="Basic YTpi", sec_fetch_site="cross-site")
    assert not refused(**elsewhere, authorization="Bearer key")  # a page that was given a key
    assert not refused(**elsewhere, sec_fetch_site="same-origin")  # a proxy that changes the Host
    assert not refused(host="pilot.example.org", origin="https://pilot.example.org", authorization="Basic YTpi")
    assert not refused(host="10.1.2.3:8000")  # a probe, or a scrape


def test_the_request_log_names_key_address_and_route(pilot_copy: Pilot) -> None:
    key, entry = new_key("planning", "admin")
    with serving(pilot_copy, SERVE_MODE="no-model", **FROM_CACHE, GROUNDWORK_API_KEYS=entry) as service:
        for path, sent in (("/status", key), ("/predict", key), ("/status", "a guess")):
            service.ask(path, headers={"Authorization": f"Bearer {sent}"})
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(20) == 0
    lines = [json.loads(line) for line in service.log.read_text().splitlines() if '"request"' in line]
    told = [(line["key"], line["address"], line["route"], line["status"]) for line in lines if "key" in line]
    assert told[-3:] == [
        ("planning", "127.0.0.1", "/status", 200),
        ("planning", "127.0.0.1", "unmatched", 403),
        (None, "127.0.0.1", "unmatched", 401),
    ]


def test_a_key_that_asks_too_often_is_told_and_others_are_not(pilot_copy: Pilot) -> None:
    greedy, modest = (new_key(name, "metrics") for name in ("greedy", "modest"))
    options = {"GROUNDWORK_API_KEYS": f"{greedy[1]},{modest[1]}", "GROUNDWORK_REQUESTS_PER_SECOND": "3"}
    with serving(pilot_copy, SERVE_MODE="no-model", **FROM_CACHE, **options) as service:

        def ask(key: str) -> tuple[int, dict[str, str]]:
            connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=20)
            with closing(connection):
                connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {key}"})
                answer = connection.getresponse()
                return answer.status, {name.lower(): value for name, value in answer.getheaders()}

        answers = [ask(greedy[0]) for _ in range(40)]
        refused = [headers for status, headers in answers if status == 429]
        assert {status for status, _ in answers} == {200, 429}
        assert {(each["retry-after"], each["ratelimit"]) for each in refused} == {("1", '"key";r=0;t=1')}
        assert all(headers["ratelimit-policy"] == '"key";q=3;w=1' for _, headers in answers)
        assert ask(modest[0])[0] == 200
        time.sleep(1)
        assert ask(greedy[0])[0] == 200
