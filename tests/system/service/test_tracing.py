"""Traces reach a collector, join the caller's, and cost nothing without one."""

import http.client
import importlib.util
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from groundwork.documents.pilot import Pilot
from serving import FROM_CACHE, Service, black_hole, closed, serving

INSTALLED = importlib.util.find_spec("opentelemetry.exporter") is not None
traced = pytest.mark.skipif(not INSTALLED, reason="needs `uv sync --group tracing`")

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector(ThreadingHTTPServer):
    """A stand-in for a collector: it speaks OTLP over HTTP as one does, and remembers what it was sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Receiver)
        self.spans: list[Any] = []
        self.services: set[str] = set()
        self.url = f"http://127.0.0.1:{self.server_port}"


class Receiver(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        import gzip

        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        assert self.path == "/v1/traces"
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.server.services |= {
                each.value.string_value for each in resource.resource.attributes if each.key == "service.name"
            }
            self.server.spans += [span for scope in resource.scope_spans for span in scope.spans]
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    server = Collector()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def attributes(span: Any) -> dict[str, Any]:
    return {each.key: each.value.string_value or each.value.int_value for each in span.attributes}


@traced
@pytest.mark.parametrize("workers", ["1", "2"])
def test_each_request_is_a_span_of_the_callers_trace(workers: str, collector: Collector, pilot_copy: Pilot) -> None:
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "WEB_CONCURRENCY": workers}
    with serving(pilot_copy, **FROM_CACHE, **environment) as service:
        caller = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
        assert service.ask("/predict", service.body, caller)[0] == 200
        assert service.ask("/predict", b"{}", caller)[0] == 422
        assert service.ask("/no/such/path")[0] == 404
        service.process.terminate()  # what was not sent yet is sent before it ends
        assert service.process.wait(30) == 0
    assert collector.services == {pilot_copy.name}
    spans = {(span.name, attributes(span)["http.response.status_code"]): span for span in collector.spans}
    for status in (200, 422):
        span = spans["POST /predict", status]
        assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
        assert span.kind == span.SPAN_KIND_SERVER
        assert 0 < span.end_time_unix_nano - span.start_time_unix_nano < 60e9
        assert attributes(span)["http.route"] == "/predict"
    own = spans["GET unmatched", 404]
    assert not own.parent_span_id
    assert "/no/such/path" not in str(collector.spans)
    logged = [json.loads(line) for line in service.log.read_text().splitlines() if line.startswith("{")]
    named = {line["status"]: line["trace_id"] for line in logged if line["message"] == "request" and "trace_id" in line}
    assert (named[422], named[404]) == (TRACE, own.trace_id.hex())


@pytest.mark.soak
@traced
@pytest.mark.parametrize("dead", ["closed", "black hole"])
def test_a_dead_collector_slows_no_answer(dead: str, pilot_copy: Pilot) -> None:
    with black_hole() as hole:
        url = {"closed": closed(), "black hole": hole}[dead]
        with serving(
            pilot_copy, **FROM_CACHE, OTEL_EXPORTER_OTLP_ENDPOINT=url, OTEL_BSP_MAX_QUEUE_SIZE="600"
        ) as service:
            connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=20)
            seconds = []
            for _ in range(3000):  # several times more than the queue holds
                began = time.monotonic()
                connection.request("POST", "/predict", service.body)
                response = connection.getresponse()
                response.read()
                assert response.status == 200
                seconds.append(time.monotonic() - began)
            began = time.monotonic()
            service.process.terminate()
            assert service.process.wait(30) == 0
            assert time.monotonic() - began < 15
    assert sorted(seconds)[len(seconds) // 2] < 0.1
    assert max(seconds) < 4, "an answer waited for the collector"
    assert len(service.log.read_text().splitlines()) < 100, "the log is flooded"


def test_with_a_collector_and_without_the_libraries_it_says_what_to_install(pilot_copy: Pilot) -> None:
    hide = pilot_copy.settings.home / "sitecustomize.py"
    hide.write_text("import sys\nsys.modules['opentelemetry.exporter.otlp.proto.http.trace_exporter'] = None\n")
    for workers in ("1", "2"):
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": closed(), "PYTHONPATH": str(hide.parent)}
        service = Service(pilot_copy, WEB_CONCURRENCY=workers, **environment)
        try:
            assert service.process.wait(60) == 1
        finally:
            service.process.kill()
    said = service.log.read_text().splitlines()
    assert len(said) == 2
    assert all(re.search(r"install the dependency group `tracing` \(uv sync --group tracing\)", line) for line in said)


def test_without_a_collector_nothing_of_it_is_imported(pilot: Pilot) -> None:
    """But the interfaces, which FastAPI imports by itself."""
    script = (
        "import sys\nfrom groundwork.service.app import create_app\n"
        "print(type(create_app()).__name__, {'opentelemetry.sdk', 'opentelemetry.exporter'} & set(sys.modules))"
    )
    quiet = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run([sys.executable, "-c", script], env=quiet, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "Front set()"
