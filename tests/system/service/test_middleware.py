"""What is sent is repeated nowhere, and makes no series of its own."""

import http.client
import json
import os
import signal

from groundwork.documents.pilot import Pilot
from groundwork.service.auth import new_key
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
