"""A real server that is told where traces go by the variables of OpenTelemetry sends them there."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from server_process import Serve, free_port

AGENTS = Path(__file__).with_name("operations_agents.py")


class Collector:
    """Takes what is sent to `/v1/traces`, over OTLP and HTTP."""

    def __init__(self) -> None:
        self.spans: dict[str, Span] = {}
        self.services: set[str] = set()
        taker = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.path == "/v1/traces":
                    taker.take(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def take(self, sent: ExportTraceServiceRequest) -> None:
        for resource in sent.resource_spans:
            about = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
            self.services.add(about["service.name"])
            self.spans |= {span.name: span for scope in resource.scope_spans for span in scope.spans}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.close()


@pytest.mark.parametrize("processes", [0, 1])
def test_spans_of_server_and_agent_are_sent_before_the_server_ends(
    serve: Serve, collector: Collector, processes: int
) -> None:
    # Nothing is sent by the clock: what comes was sent at the end.
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "60000", "RUNYARD_TRACES": "true"}
    server = serve(AGENTS, env=env, settings={"processes": processes})
    run = server.background.create_run({"agent_id": "traced"})
    server.background.wait_run(run.run_id)
    server.terminate()
    assert server.wait() == 0, server.log_text()
    assert collector.services == {"runyard"}
    chain = ["of the agent", "invoke_agent traced", "create_run traced", "POST /runs"]
    spans = [collector.spans[name] for name in chain]
    assert [child.parent_span_id for child in spans[:-1]] == [parent.span_id for parent in spans[1:]]
    assert spans[-1].parent_span_id == b""


def test_a_collector_that_is_not_there_keeps_the_server_neither_from_working_nor_from_ending(serve: Serve) -> None:
    # OpenTelemetry itself would try for two minutes; a story waits for 20 s at most.
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}", "OTEL_EXPORTER_OTLP_TIMEOUT": "120"}
    server = serve(AGENTS, env={**env, "RUNYARD_TRACES": "on"})
    run = server.background.create_run({"agent_id": "traced"})
    assert server.background.wait_run(run.run_id).status == "success"
    server.terminate()
    assert server.wait() == 0, server.log_text()
    assert "traces not sent" in server.log_text()
