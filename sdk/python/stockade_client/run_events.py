"""Events of a run as they come: how they are read, and when to ask again for the rest."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from stockade_client.attempts import RetryRule
from stockade_client.calls import Call, path_part
from stockade_client.errors import StockadeApiError
from stockade_client.fields import Fields, UnexpectedAnswer

MOST_EVENT_BYTES = 256 * 1024 * 1024
"""More than any event has."""
SILENCE_SECONDS = 45.0
"""A gateway that lives says something every fifteen."""


@dataclass(frozen=True, slots=True)
class RunEvent:
    """One thing that happened in a run.

    `kind` and `data`, whose texts are the guest's own where it says something:

    | kind | data |
    |---|---|
    | `state` | `state`: `queued`, `running`, `retry` or `done`; `attempt`, `outcome`, `reason`, … |
    | `log` | `attempt`, `number` (from 0), `level`, `text` |
    | `event` | `attempt`, `number`, `name`, `data` |
    | `progress` | `percent`, `message` |
    | `dropped` | `attempt`, `what` (`logs` or `events`), `count` (None: beyond the limit) |

    `id` is where to go on; it may be empty.
    """

    kind: str
    data: Mapping[str, Any] = field(default_factory=dict)
    id: str = ""

    @property
    def ends(self) -> bool:
        """Whether it is the last one of its run."""
        return self.kind == "state" and self.data.get("state") == "done"


class EventReader:
    """Takes bytes as they come and gives whole events."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._fields: dict[str, str] = {}

    def feed(self, more: bytes) -> Iterator[RunEvent]:
        """The events that these bytes complete.

        Raises:
            StockadeApiError: `client.unexpected_answer`.
        """
        self._bytes += more
        *lines, rest = self._bytes.split(b"\n")
        self._bytes = bytearray(rest)
        if len(rest) > MOST_EVENT_BYTES:
            raise _unexpected("an event without an end")
        for line in lines:
            text = line.rstrip(b"\r").decode("utf-8", errors="replace")
            if text:
                name, _, value = text.partition(":")
                self._fields[name] = value.removeprefix(" ")
            elif event := self._whole():
                yield event

    def _whole(self) -> RunEvent | None:
        fields, self._fields = self._fields, {}
        if "data" not in fields:
            return None
        try:
            data = json.loads(fields["data"])
        except ValueError as error:
            raise _unexpected(str(error)) from error
        if not isinstance(data, dict):
            raise _unexpected("an event without facts")
        return RunEvent(fields.get("event", "message"), data, fields.get("id", ""))


class Course:
    """One run, followed over as many connections as it takes.

    Args:
        invocation_id: The run's.
        last_event_id: Goes on behind this event; '' from the beginning.
        retries: How often in a row a connection may bring nothing.
    """

    def __init__(self, invocation_id: str, last_event_id: str, retries: RetryRule) -> None:
        path = f"/v1/invocations/{path_part(invocation_id)}/events"
        self.call: Call[None] = Call("GET", path, lambda _response: None)
        self.over = False
        self._last = last_event_id
        self._retries = retries
        self._failed = 0

    @property
    def headers(self) -> dict[str, str]:
        """What to ask with."""
        accept = {"Accept": "text/event-stream"}
        return accept | ({"Last-Event-ID": self._last} if self._last else {})

    def take(self, reader: EventReader, more: bytes) -> Iterator[RunEvent]:
        """The events that these bytes complete.

        Raises:
            StockadeApiError: The gateway does not go on.
        """
        for event in reader.feed(more):
            if event.kind == "error":
                self._stopped(event)
                return
            self._failed = 0
            self._last = event.id or self._last
            self.over = event.ends
            yield event

    def refused(self, response: httpx.Response) -> None:
        """Takes an answer that is no stream of events.

        Raises:
            StockadeApiError: It is a refusal that stays.
        """
        if self._retries.after_answer(self.call, self._failed + 1, response) is None:
            self.call.answer(response)
            raise _unexpected("no events")

    def pause(self, error: httpx.TransportError | None) -> float:
        """How long to wait before the next connection.

        Raises:
            ConnectionFailed: There were enough that brought nothing.
        """
        self._failed += 1
        error = error or httpx.RemoteProtocolError("the events stopped before the run was done")
        return self._retries.after_error(self.call, self._failed, error)

    def _stopped(self, event: RunEvent) -> None:
        try:
            fields = Fields(event.data)
            code, detail = fields.text("code"), fields.text("detail")
        except UnexpectedAnswer as error:
            raise _unexpected(str(error)) from error
        if not fields.flag("retryable"):
            raise StockadeApiError(code, 0, detail)


def _unexpected(why: str) -> StockadeApiError:
    return StockadeApiError("client.unexpected_answer", 0, f"These are no events: {why}.")
