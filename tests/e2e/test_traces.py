"""One trace from a client's `traceparent` through gateway and worker to a server that a run asks.

The collector is one of the official protobufs.
"""

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import pairwise
from pathlib import Path
from threading import Thread

import pytest

from tests.e2e.service import PUBLIC, Service, running_service
from tests.e2e.test_host_calls import fetcher
from tests.guest import guests
from tests.unit.stockade.infra.tracing.otlp_receiver import Received, http_receiver

ROOT = Path(__file__).parents[2]
TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED, UNSAMPLED = f"00-{TRACE}-{CALLER}-01", f"00-{TRACE}-{CALLER}-00"
TRAP = guests.module("unreachable")


@contextmanager
def upstream() -> Iterator[tuple[int, list[dict[str, str]]]]:
    """A server on loopback, and the headers that it saw."""
    seen: list[dict[str, str]] = []

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append({name.lower(): value for name, value in self.headers.items()})
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"page")

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with HTTPServer(("127.0.0.1", 0), Page) as server:
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server.server_port, seen
        server.shutdown()


@contextmanager
def traced_service(place: Path, **environment: str) -> Iterator[Service]:
    policies = place / "policies"
    shutil.copytree(ROOT / "policies", policies)
    egress = policies / "egress.toml"
    text = egress.read_text(encoding="utf-8")
    egress.write_text(text.replace("allow = []", 'allow = ["127.0.0.1/32"]', 1), encoding="utf-8")
    settings = {"STOCKADE_POLICY_DIR": str(policies)} | environment
    with running_service(place / "data", **settings) as running:
        trusted = {"name": "tests", "public_key": PUBLIC}
        assert running.http.post("/v1/signers", json=trusted).status_code == 201
        yield running


def until(condition: Callable[[], object]) -> None:
    give_up = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < give_up, "it did not come about in 20 seconds"
        time.sleep(0.05)


def kept_spans(service: Service, invocation_id: str) -> dict[str, dict[str, object]]:
    answer = service.http.get(f"/v1/invocations/{invocation_id}/trace")
    if answer.status_code == 404:
        return {}
    assert answer.status_code == 200, answer.text
    return {
        span["name"]: span
        for resource in answer.json()["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    }


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Received]]:
    place = tmp_path_factory.mktemp("traces")
    with (
        http_receiver() as received,
        traced_service(place, STOCKADE_OTLP_ENDPOINT=received.url) as service,
    ):
        yield service, received


def test_one_trace_from_the_client_to_the_server_that_the_run_asks(
    collected: tuple[Service, Received],
) -> None:
    service, received = collected
    with upstream() as (port, seen):
        url = f"http://127.0.0.1:{port}/secret-path"
        service.deploy("fetches", fetcher(url), grants=[f"http_fetch:GET {url}"])
        sent = {"traceparent": SAMPLED, "tracestate": "vendor=1", "baggage": "tenant=evil"}
        answer = service.invoke("fetches", **sent)
        assert answer.content.startswith(b"\x00200\n")
        assert answer.content.endswith(b"page")
    (headers,) = seen
    invocation = answer.headers["stockade-invocation-id"]
    route = "POST /v1/functions/{name}/invoke"
    until(lambda: {route, "http_fetch"} <= kept_spans(service, invocation).keys())
    spans = kept_spans(service, invocation)
    request, attempt, run = (
        spans[route],
        spans["attempt"],
        spans["run"],
    )
    chain = [request, spans["submit"], attempt, run, spans["http_fetch"]]
    assert {span["traceId"] for span in spans.values()} == {TRACE}
    assert request["parentSpanId"] == CALLER
    for above, below in pairwise(chain):
        assert below["parentSpanId"] == above["spanId"]
        assert int(str(below["startTimeUnixNano"])) >= int(str(above["startTimeUnixNano"]))
    assert headers["traceparent"] == f"00-{TRACE}-{run['spanId']}-01"
    assert headers["tracestate"] == "vendor=1"
    assert "baggage" not in headers
    ids = {bytes.fromhex(str(span["spanId"])) for span in spans.values()}
    until(lambda: ids <= {span.span_id for span in received.spans})
    assert received.services == {"stockade-gateway", "stockade-worker"}
    assert not any("secret-path" in str(span) for span in received.spans)


@pytest.mark.parametrize("path", ["invoke", "invocations"])
def test_a_failure_is_kept_though_its_caller_did_not_sample_it(
    collected: tuple[Service, Received], path: str
) -> None:
    service, _received = collected
    service.deploy("traps", TRAP)
    service.deploy("echo", guests.ECHO)
    headers = {"traceparent": UNSAMPLED}
    places = {}
    for name in ("echo", "traps"):
        answer = service.http.post(f"/v1/functions/{name}/{path}", headers=headers)
        known = answer.headers.get("stockade-invocation-id")
        places[name] = f"/v1/invocations/{known or answer.json()['id']}"
    for place in places.values():
        until(lambda place=place: service.http.get(place).json()["state"] == "done")  # type: ignore[misc]
    wanted = {"submit", "queue wait", "attempt", "run", f"POST /v1/functions/{{name}}/{path}"}
    until(lambda: wanted <= kept_spans(service, places["traps"].rpartition("/")[2]).keys())
    assert service.http.get(f"{places['echo']}/trace").json()["code"] == "trace.not_kept"


def test_the_cli_draws_it(collected: tuple[Service, Received]) -> None:
    service, _received = collected
    service.deploy("echo", guests.ECHO)
    invocation = service.invoke("echo").headers["stockade-invocation-id"]
    key = service.data_dir / "dev-api-key"
    program = [sys.executable, "-m", "stockade.cli.main"]
    command = [*program, "trace", invocation, "--url", service.url, "--api-key-file", str(key)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "attempt 1" in shown
    assert "submit" in shown


def test_a_collector_that_never_answers_slows_no_run(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with traced_service(tmp_path, STOCKADE_OTLP_ENDPOINT=endpoint) as service:
            service.deploy("echo", guests.ECHO)
            for _ in range(50):
                answer = service.invoke("echo", b"x")
                assert (answer.status_code, answer.content) == (200, b"x")
            invocation = answer.headers["stockade-invocation-id"]
            until(lambda: "run" in kept_spans(service, invocation))
