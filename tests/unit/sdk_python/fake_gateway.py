"""A gateway for tests of its callers: answers by method and path, and remembers what was asked."""

import json
from collections.abc import Callable
from typing import Any

import httpx

ID = "01900000-0000-7000-8000-000000000001"
DIGEST = "sha256:" + "a" * 64
MODULE = {
    "digest": DIGEST,
    "signers": ["me"],
    "imports": ["stockade:v1.log"],
    "exports": ["memory", "stockade_v1_run"],
    "abi": "stockade:v1",
    "deterministic": True,
    "size_bytes": 123,
}
USAGE = {"fuel": 1000, "peak_memory_bytes": 65536, "wall_ms": 1.5, "queue_ms": 0.25}
RAISED: dict[str, object] = {
    "number": 1,
    "outcome": "limit_exceeded",
    "reason": "The fuel limit rises from 1000 to 2000.",
    "usage": USAGE,
    "limit": "fuel",
    "detail": "Out of fuel.",
    "policy": "learned",
    "code": "limit_raised",
    "success": 0.5,
    "limits": {"fuel": 1000, "memory_bytes": 65536, "wall_ms": 10},
    "engine": "wasmtime-1",
    "recording": DIGEST,
    "shadow": {
        "policy": "fixed",
        "retry": False,
        "delay_ms": 0,
        "code": "certain",
        "reason": "The same fuel limit would be passed again.",
        "success": None,
        "limits": None,
    },
}
RECORD: dict[str, object] = {
    "id": ID,
    "function": "hello",
    "version": 2,
    "state": "done",
    "outcome": "completed",
    "limit": None,
    "detail": None,
    "attempts": [{"number": 1, "outcome": "completed", "reason": "done", "usage": USAGE}],
    "usage": USAGE,
    "something_new": [1, 2, 3],
}
INSTALLATION: dict[str, object] = {
    "scope": "installation",
    "version": "1.2.3",
    "queue": {
        "backlog": 7,
        "later": 3,
        "oldest_wait_ms": 1500,
        "ready": 2,
        "in_flight": 1,
        "reclaimed": 4,
        "quarantined": 5,
        "ended": {"trapped": 1},
    },
    "recent": {"minutes": 5, "ended": 10, "failed": 1, "error_rate": 0.1},
    "working": True,
    "running": [{"tenant": "acme", "function": "resize", "count": 2}],
    "capacity": 4,
    "workers": [
        {
            "name": "w1",
            "version": "1.2.3",
            "state": "working",
            "capacity": 4,
            "uptime_seconds": 60,
            "running": [{"tenant": "acme", "function": "resize", "count": 2}],
            "recent": [],
            "stale": ["trust"],
            "weak_walls": ["aslr"],
        }
    ],
    "stale": ["trust"],
    "weak_walls": ["aslr"],
}
RETRY_REPORT: dict[str, object] = {
    "name": "hello",
    "version": 3,
    "policy": "fixed",
    "shadow": "learned",
    "attempts": 400,
    "completed": 350,
    "decisions": 40,
    "both_retry": 20,
    "both_stop": 8,
    "shadow_stops": 10,
    "shadow_retries": 2,
    "other_limits": 1,
    "mean_delay_ms": 100,
    "shadow_mean_delay_ms": None,
    "reasons": {"backoff": 30, "certain": 10},
    "shadow_reasons": {"chance": 38, "limit_raised": 2},
    "effect": {
        "saved_attempts": 12,
        "saved_fuel": 1200,
        "lost_successes": 1,
        "added_attempts": 2.0,
        "added_fuel": 4000,
        "won_successes": 1.5,
        "unestimated": 0,
    },
    "calibration": {
        "trials": 8,
        "error": 0.05,
        "bins": [{"least": 0.5, "most": 0.6, "trials": 8, "predicted": 0.55, "observed": 0.5}],
    },
    "something_new": 1,
}
ADVICE: dict[str, object] = {
    "name": "hello",
    "version": 3,
    "limits": [
        {
            "limit": "fuel",
            "present": 1000,
            "ceiling": 9000,
            "runs": 400,
            "p50": 500,
            "p95": 1100,
            "p99": 1200,
            "most": 2000,
            "failures": 7,
            "automatic": True,
            "suggested": 1500,
            "sentence": "Raise it.",
        },
        {
            "limit": "wall_ms",
            "present": 10,
            "ceiling": 90,
            "runs": 2,
            "p50": None,
            "failures": 0,
            "automatic": False,
            "suggested": None,
            "sentence": "2 of the 30 runs were seen: nothing \x1b[2J.",
        },
    ],
}
SCHEDULE = {
    "name": "nightly",
    "function": "report",
    "alias": "prod",
    "version": None,
    "cron": "30 3 * * *",
    "time_zone": "Europe/Berlin",
    "priority": "low",
    "catch_up": "one",
    "paused": False,
    "created_ms": 1_800_000_000_000,
    "next_ms": 1_800_066_600_000,
    "last_ms": 1_799_980_200_000,
    "last_invocation": ID,
    "refusal": {"code": "queue.full", "message": "Too many.", "at_ms": 1, "count": 2},
    "input": "grüße",
    "next_times": [
        {
            "time_ms": 1_800_066_600_000,
            "utc": "2027-01-16T02:30:00Z",
            "local": "2027-01-16T03:30:00+01:00",
        }
    ],
    "something_new": 1,
}
RETRY_STATE: dict[str, Any] = {
    "function": "hello",
    "version": 3,
    "known": True,
    "frozen": True,
    "set_aside": False,
    "readable": True,
    "size_bytes": 321,
    "first_attempts": {
        "success": 0.97,
        "trials": 120.5,
        "changes": 1,
        "seen_ms": 1_800_000_000_000,
    },
    "retries": [
        {
            "basis": "rej..busy.001",
            "success": 0.25,
            "trials": 30,
            "changes": 0,
            "seen_ms": 1_800_000_000_000,
        }
    ],
    "outage": {
        "is_out": True,
        "failures": 9,
        "since_ms": 1_800_000_000_000,
        "remaining_ms": 4000,
        "outages_seen": 2,
    },
    "needs": {"fuel": {"seen": 400, "p50": 1000.5, "p95": 2000, "p99": None}},
    "budget": None,
    "something_new": 1,
}
ALIAS = {
    "function": "hello",
    "alias": "prod",
    "weights": {"3": 9, "4": 1},
    "percent": {"3": 90.0, "4": 10},
    "revision": 7,
    "changed_ms": 1_800_000_000_000,
    "changed_by": "abcdefghij01",
    "changed": True,
    "something_new": 1,
}
DELETED = {
    "name": "hello",
    "version": 4,
    "deleted_ms": 1_800_000_000_000,
    "deleted_by": "abcdefghij01",
    "restorable_until_ms": 1_800_604_800_000,
}
CHANGES = {
    "module": {"from": "sha256:" + "a" * 64, "to": "sha256:" + "b" * 64},
    "deterministic": {"from": True, "to": False},
    "concurrency": {"from": None, "to": 3},
    "limits": {"fuel": {"from": 5, "to": 7}},
    "imports": {"added": ["stockade:v1.now_ms", "odd\x1b[2J"]},
    "env": {"removed": ["A"], "changed": ["B"]},
}
REHEARSAL = {
    "dry_run": True,
    "name": "hello",
    "version": 5,
    "creates": True,
    "against": 4,
    "changes": CHANGES,
    "refusals": [
        {"code": "auth.denied", "detail": "No.", "facts": {"policies": ["no-friday"]}},
        {"code": "module.not_found", "detail": "Where is it?"},
    ],
}
COST_HEADERS = {
    "Stockade-Invocation-Id": ID,
    "Stockade-Outcome": "completed",
    "Stockade-Attempts": "1",
    "Stockade-Fuel": "1000",
    "Stockade-Peak-Memory-Bytes": "65536",
    "Stockade-Wall-Ms": "1.5",
}
Answer = httpx.Response | Callable[[httpx.Request], httpx.Response]


def problem(status: int, code: str, **more: object) -> httpx.Response:
    body = {"status": status, "code": code, "title": "Refused", "detail": "It is wrong.", **more}
    return httpx.Response(status, json=body)


def completed(output: bytes = b"hi") -> httpx.Response:
    return httpx.Response(200, content=output, headers=COST_HEADERS)


class FakeGateway:
    """`answers` maps `METHOD path` to an answer, or to a list of which each is given once."""

    def __init__(self, **answers: Answer) -> None:
        self.answers: dict[str, Answer | list[Answer]] = dict(answers)
        self.requests: list[httpx.Request] = []

    @property
    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self._handle)

    @property
    def last(self) -> httpx.Request:
        return self.requests[-1]

    @property
    def last_json(self) -> object:
        return json.loads(self.last.content)

    def on(self, call: str, *answers: Answer) -> "FakeGateway":
        self.answers[call] = list(answers) if len(answers) > 1 else answers[0]
        return self

    def _handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        path = request.url.raw_path.decode().split("?")[0]
        answer = self.answers[f"{request.method} {path}"]
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        return answer(request) if callable(answer) else answer
