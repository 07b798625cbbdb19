"""OpenTelemetry: sends a span for each request to the collector of OTEL_EXPORTER_OTLP_ENDPOINT.

The service imports this module only if that variable is set. The SDK reads its other variables itself, such as
OTEL_EXPORTER_OTLP_HEADERS, OTEL_SERVICE_NAME and OTEL_TRACES_SAMPLER.
"""

import threading
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.types import Message, Receive, Scope, Send

from groundwork.core.errors import GroundworkError
from groundwork.core.settings import Settings
from groundwork.service.middleware import Front

try:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.trace import Span, SpanKind, StatusCode, format_span_id, format_trace_id
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError as error:
    raise GroundworkError(
        f"OTEL_EXPORTER_OTLP_ENDPOINT is set, but {error.name} is not installed: install the dependency group "
        "`tracing` (uv sync --group tracing), or unset the variable"
    ) from error

FLUSH_SECONDS = 2.0  # for exporting the remaining spans once no request is in flight


class TracedFront(Front):
    """Front with a server span around each request; the span continues the client's trace.

    A separate thread exports the spans from a bounded queue: if the collector is slow or down, spans are lost, but
    requests are not delayed.
    """

    def __init__(self, app: Any, settings: Settings, *keys: Any, **parts: Any) -> None:
        super().__init__(app, settings, *keys, **parts)
        self._provider = TracerProvider(shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("groundwork")
        self._propagator = TraceContextTextMapPropagator()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._trace(scope, receive, send)
            return

        async def flush_last(message: Message) -> None:
            if message["type"].startswith("lifespan.shutdown"):
                await run_in_threadpool(self._flush)
            await send(message)

        await super().__call__(scope, receive, flush_last)

    async def _trace(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"]
        sent = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        span = self._tracer.start_span(method, self._propagator.extract(sent), SpanKind.SERVER)
        # So that the log lines of the request contain its trace id.
        others = [header for header in scope["headers"] if header[0] != b"traceparent"]
        scope = {**scope, "headers": [*others, (b"traceparent", _traceparent(span))]}
        status = 0

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await super().__call__(scope, receive, watched)
        finally:
            path = scope["path"]
            route = path if path == "/predict" else getattr(scope.get("route"), "path", "unmatched")
            span.update_name(f"{method} {route}")
            span.set_attributes(
                {"http.request.method": method, "http.route": route, "http.response.status_code": status}
            )
            if not status or status >= 500:
                span.set_status(StatusCode.ERROR)
            span.end()

    def _flush(self) -> None:
        # The SDK's shutdown takes half a minute if no collector answers.
        flushing = threading.Thread(target=self._provider.shutdown, daemon=True)
        flushing.start()
        flushing.join(FLUSH_SECONDS)


def _traceparent(span: Span) -> bytes:
    context = span.get_span_context()
    trace, parent = format_trace_id(context.trace_id), format_span_id(context.span_id)
    return f"00-{trace}-{parent}-{context.trace_flags:02x}".encode()
