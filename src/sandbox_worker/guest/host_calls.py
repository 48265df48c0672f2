"""The host calls of `stockade:v1`, as `sdk/abi/ABI.md` gives them.

What needs nothing of the outside is answered here; the rest is asked of the supervisor, who alone
holds grants, keys and sockets. A wrong pointer, length or text ends the run; a call that fails
outside is an answer to the guest.
"""

import time
from collections.abc import Callable

import msgspec

from sandbox_worker.guest.deadline import NoTimer, RunTimer
from sandbox_worker.guest.faults import GuestFault, LimitHit
from sandbox_worker.guest.frames import MAX_HOST_CALL_BYTES, HostCall, HostReply
from sandbox_worker.guest.machine import HostCaller
from sandbox_worker.guest.run_state import RunState
from sandbox_worker.guest.varying import AskSupervisor
from stockade.core.guest_spans import MOST_NAME_BYTES, MOST_VALUE_BYTES

DONE, ABSENT, FAILED = 0, 1, 2
_MASK = 0xFFFFFFFF
_HIGHEST_LEVEL = 4
_MAX_TEXT_BYTES = 4096
_MAX_RANDOM_BYTES = 65_536
_MAX_EVENT_NAME_BYTES = 64
_MAX_PROGRESS_BYTES = 256
_WHOLE = 100


def nobody_answers(_call: HostCall) -> HostReply:
    """Stands for the supervisor where there is none.

    Raises:
        RuntimeError: always.
    """
    raise RuntimeError("there is no supervisor to answer host calls")


class CurrentRun:
    """Points the host functions, which outlive runs, at the one that runs and its supervisor.

    `timer` is what has told what a guest says, while it runs.
    """

    state: RunState
    ask: AskSupervisor
    timer: RunTimer

    def __init__(self) -> None:
        self.ask = nobody_answers
        self.timer = NoTimer()


class HostCalls:
    """One method for each host call, named as it is imported."""

    def __init__(self, current: CurrentRun) -> None:
        self._current = current

    def counted(self, name: str) -> Callable[..., int | None]:
        """The method of this name, which counts itself against the run's `host_calls`."""
        call = getattr(self, name)

        def count(caller: HostCaller, *arguments: int) -> int | None:
            self._current.state.count_host_call()
            result: int | None = call(caller, *arguments)
            return result

        return count

    def log(self, caller: HostCaller, level: int, pointer: int, length: int) -> None:
        """Adds a line to the log."""
        if not 0 <= level <= _HIGHEST_LEVEL:
            raise GuestFault(f"log level {level} is not 0 to {_HIGHEST_LEVEL}")
        state = self._current.state
        size = min(length & _MASK, state.limits.log_bytes + 1)
        memory = caller.memory()
        memory.check(pointer, length)
        state.log(level, memory.read(pointer, size))
        self._current.timer.tell_soon()

    def emit(self, caller: HostCaller, name: int, name_size: int, data: int, size: int) -> None:
        """Adds an event to the record."""
        state = self._current.state
        called = _text(caller, name, name_size, _MAX_EVENT_NAME_BYTES)
        if not called:
            raise GuestFault("an event has no name")
        caller.memory().check(data, size)
        if size & _MASK > state.limits.log_bytes:
            state.events_truncated = True
            return
        told = _text(caller, data, size, state.limits.log_bytes)
        state.emit(called, told, (name_size & _MASK) + (size & _MASK))
        self._current.timer.tell_soon()

    def progress(self, caller: HostCaller, percent: int, pointer: int, length: int) -> None:
        """Says how far the run is."""
        if not 0 <= percent <= _WHOLE:
            raise GuestFault(f"progress of {percent} is not 0 to {_WHOLE}")
        message = _text(caller, pointer, length, _MAX_PROGRESS_BYTES)
        self._ask(caller, HostCall("progress", text=message, number=percent))

    def span_open(self, caller: HostCaller, name: int, size: int) -> int:
        """Opens a span within the innermost; its number, or 0 when there is no room."""
        called = _text(caller, name, size, MOST_NAME_BYTES)
        if not called:
            raise GuestFault("a span has no name")
        return self._current.state.span_book().open(called)

    def span_close(self, _caller: HostCaller, number: int) -> None:
        """Closes a span, and what is open within it."""
        if number:
            self._current.state.span_book().close(number)

    def span_attribute(
        self, caller: HostCaller, number: int, name: int, name_size: int, value: int, size: int
    ) -> None:
        """Says something about an open span."""
        called = _text(caller, name, name_size, MOST_NAME_BYTES)
        if not called:
            raise GuestFault("an attribute has no name")
        told = _text(caller, value, size, MOST_VALUE_BYTES)
        if number:
            self._current.state.span_book().attribute(number, called, told)

    def config_get(self, caller: HostCaller, name: int, size: int) -> int:
        """A value of the function version's environment."""
        wanted = _text(caller, name, size, _MAX_TEXT_BYTES)
        value = dict(self._current.state.env).get(wanted)
        return (
            _hand_over(caller, ABSENT)
            if value is None
            else _hand_over(caller, DONE, value.encode())
        )

    def now_ms(self, caller: HostCaller) -> int:
        """Unix time in milliseconds, on the run's own clock."""
        state = self._current.state
        now_ns = state.time_ns("now_ms", time.CLOCK_REALTIME, caller.fuel_left())
        return now_ns // 1_000_000

    def random(self, caller: HostCaller, pointer: int, length: int) -> None:
        """Fills the guest's buffer with randomness."""
        size = length & _MASK
        if size > _MAX_RANDOM_BYTES:
            raise GuestFault(f"{size} random bytes are more than {_MAX_RANDOM_BYTES}")
        memory = caller.memory()
        memory.check(pointer, size)
        memory.write(pointer, self._current.state.random("random", size))

    def secret_get(self, caller: HostCaller, name: int, size: int) -> int:
        """A secret of the tenant's."""
        call = HostCall("secret_get", text=_text(caller, name, size, _MAX_TEXT_BYTES))
        return self._brokered(caller, call)

    def kv_get(self, caller: HostCaller, key: int, size: int) -> int:
        """The value of a key."""
        call = HostCall("kv_get", text=_text(caller, key, size, _MAX_TEXT_BYTES))
        return self._brokered(caller, call)

    def kv_set(
        self, caller: HostCaller, key: int, key_size: int, value: int, size: int, ttl_seconds: int
    ) -> int:
        """Sets a key, for so many seconds or (0) for good."""
        text = _text(caller, key, key_size, _MAX_TEXT_BYTES)
        data = _data(caller, value, size)
        if data is None:
            return _too_large(caller, "kv.value_too_large")
        return self._brokered(caller, HostCall("kv_set", text, data, ttl_seconds & _MASK))

    def kv_delete(self, caller: HostCaller, key: int, size: int) -> int:
        """Deletes a key."""
        call = HostCall("kv_delete", text=_text(caller, key, size, _MAX_TEXT_BYTES))
        return self._brokered(caller, call)

    def kv_add(self, caller: HostCaller, key: int, size: int, delta: int) -> int:
        """Adds to a key's number."""
        text = _text(caller, key, size, _MAX_TEXT_BYTES)
        return self._brokered(caller, HostCall("kv_add", text, number=delta))

    def http_fetch(self, caller: HostCaller, request: int, size: int) -> int:
        """Makes an HTTP request."""
        data = _data(caller, request, size)
        if data is None:
            return _too_large(caller, "http_fetch.request_too_large")
        return self._brokered(caller, HostCall("http_fetch", data=data))

    def _brokered(self, caller: HostCaller, call: HostCall) -> int:
        reply = self._ask(caller, call)
        return _hand_over(caller, reply.status, reply.data)

    def _ask(self, caller: HostCaller, call: HostCall) -> HostReply:
        state = self._current.state
        if state.varying is not None:
            call = msgspec.structs.replace(call, at=state.host_calls)
        if state.spans is not None:
            call = msgspec.structs.replace(call, span=state.spans.innermost)
        reply = self._current.ask(call)
        if reply.stop:
            raise LimitHit(reply.stop)
        state.clock.catch_up(caller.fuel_left())
        return reply


def _text(caller: HostCaller, pointer: int, length: int, most: int) -> str:
    size = length & _MASK
    if size > most:
        raise GuestFault(f"a text of {size} bytes is longer than {most}")
    try:
        return caller.memory().read(pointer, size).decode("utf-8")
    except UnicodeDecodeError:
        raise GuestFault("a text is not UTF-8") from None


def _data(caller: HostCaller, pointer: int, length: int) -> bytes | None:
    """The bytes, or None when there are more than a call may carry."""
    memory = caller.memory()
    memory.check(pointer, length)
    if length & _MASK > MAX_HOST_CALL_BYTES:
        return None
    return memory.read(pointer, length)


def _hand_over(caller: HostCaller, status: int, data: bytes = b"") -> int:
    """Puts a reply into room that the guest allocates; packs where it is and its length."""
    pointer = caller.allocate(1 + len(data)) & _MASK
    caller.memory().write(pointer, bytes([status]) + data)
    return pointer << 32 | 1 + len(data)


def _too_large(caller: HostCaller, code: str) -> int:
    text = f"{code}: one host call carries at most {MAX_HOST_CALL_BYTES} bytes. Send less at once."
    return _hand_over(caller, FAILED, text.encode())
