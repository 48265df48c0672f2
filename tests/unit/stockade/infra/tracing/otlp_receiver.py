"""Collectors of the official protobufs, over HTTP and gRPC, that can refuse, be slow or go away."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span


@dataclass
class Received:
    """What came, and what is answered: `statuses` in turn, then success."""

    requests: list[ExportTraceServiceRequest] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    statuses: list[Any] = field(default_factory=list)
    retry_after: str = ""
    refuses: int = 0
    answer: bytes | None = None
    asked: int = 0
    held: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    def __post_init__(self) -> None:
        self.held.set()

    @property
    def spans(self) -> list[Span]:
        return [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    @property
    def services(self) -> set[str]:
        return {
            one.value.string_value
            for request in self.requests
            for resource in request.resource_spans
            for one in resource.resource.attributes
            if one.key == "service.name"
        }

    def response(self) -> ExportTraceServiceResponse:
        partial = ExportTracePartialSuccess(rejected_spans=self.refuses)
        return ExportTraceServiceResponse(partial_success=partial)


@contextmanager
def http_receiver() -> Iterator[Received]:
    received = Received()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.asked += 1
            body = self.rfile.read(int(self.headers["content-length"]))
            received.held.wait(30)
            status = received.statuses.pop(0) if received.statuses else 200
            answer = received.response().SerializeToString()
            if received.answer is not None:
                answer = received.answer
            if status == 200:
                received.requests.append(ExportTraceServiceRequest.FromString(body))
                received.headers.append({k.lower(): v for k, v in self.headers.items()})
            self.send_response(status)
            if received.retry_after:
                self.send_header("retry-after", received.retry_after)
            self.send_header("content-length", str(len(answer)))
            self.send_header("x-path", self.path)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_arguments: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    received.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield received
    finally:
        received.held.set()
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def grpc_receiver() -> Iterator[Received]:
    received = Received()

    class Service(TraceServiceServicer):
        def Export(  # noqa: N802 - the protocol's name
            self, request: ExportTraceServiceRequest, context: grpc.ServicerContext
        ) -> ExportTraceServiceResponse:
            received.asked += 1
            received.held.wait(30)
            if received.statuses:
                context.abort(received.statuses.pop(0), "no")
            received.requests.append(request)
            received.headers.append(dict(context.invocation_metadata()))
            return received.response()

    pool = ThreadPoolExecutor(4)
    server = grpc.server(pool)
    add_TraceServiceServicer_to_server(Service(), server)
    received.url = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield received
    finally:
        received.held.set()
        server.stop(0).wait()
        pool.shutdown()
