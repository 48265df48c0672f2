"""A host of `stockade:v1` and WASI commands by the book, apart from the one that Stockade runs.

It is strict: a guest that breaks the ABI fails its test, here as there.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wasmtime import (
    Caller,
    Engine,
    ExitTrap,
    Func,
    FuncType,
    Instance,
    Linker,
    Memory,
    Module,
    Store,
    Trap,
    TrapCode,
    ValType,
    WasiConfig,
)

DEFAULT_LIMITS = {"fuel": 1_000_000_000, "memory_bytes": 64 << 20, "output_bytes": 6 << 20}
DONE, ABSENT = b"\x00", b"\x01"
KEPT_FOR_GOOD = 0


def failed(code: str) -> bytes:
    return b"\x02" + f"{code}: a sentence: for people".encode()


@dataclass(frozen=True)
class Example:
    directory: Path
    manifest: dict[str, Any]

    @property
    def module(self) -> str:
        return str(self.manifest["module"])

    @property
    def committed(self) -> Path:
        return self.directory / self.module

    @property
    def input(self) -> bytes:
        return (self.directory / str(self.manifest["input"])).read_bytes()

    @property
    def limits(self) -> dict[str, int]:
        return {**DEFAULT_LIMITS, **self.manifest["limits"]}

    @property
    def grants(self) -> list[str]:
        return list(self.manifest.get("grants", []))

    @property
    def env(self) -> dict[str, str]:
        return dict(self.manifest.get("env", {}))


@dataclass(frozen=True)
class Ran:
    outcome: str
    body: bytes = b""
    limit: str | None = None
    retryable: bool = False


def unpack(packed: int) -> tuple[int, int]:
    return (packed >> 32) & 0xFFFFFFFF, packed & 0xFFFFFFFF


def read_frame(frame: bytes) -> Ran:
    match list(frame[:2]):
        case [0, *_]:
            return Ran("completed", frame[1:])
        case [1, (0 | 1) as retryable]:
            return Ran("rejected", frame[2:], retryable=retryable == 1)
        case _:
            return Ran("trapped")


@dataclass
class World:
    """What the host calls of a guest find and leave behind."""

    grants: list[str] = field(default_factory=list)
    config: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, bytes] = field(default_factory=dict)
    values: dict[str, bytes] = field(default_factory=dict)
    now_ms: int = 1_795_451_445_678
    fetch: Callable[[bytes], bytes] = lambda _request: failed("http_fetch.not_granted")
    logs: list[tuple[int, bytes]] = field(default_factory=list)
    events: list[tuple[str, str]] = field(default_factory=list)
    progress: list[tuple[int, str]] = field(default_factory=list)
    spans: list[str] = field(default_factory=list)
    """What was opened, said and closed, in order."""
    kept_seconds: dict[str, int] = field(default_factory=dict)
    requests: list[bytes] = field(default_factory=list)

    def config_get(self, name: bytes) -> bytes:
        value = self.config.get(name.decode())
        return ABSENT if value is None else DONE + value.encode()

    def secret_get(self, name: bytes) -> bytes:
        if f"secret:{name.decode()}" not in self.grants:
            return failed("host_call.not_granted")
        value = self.secrets.get(name.decode())
        return ABSENT if value is None else DONE + value

    def kv_get(self, key: bytes) -> bytes:
        value = self.values.get(key.decode())
        return self._refusal(key) or (ABSENT if value is None else DONE + value)

    def kv_set(self, key: bytes, value: bytes, ttl_seconds: int) -> bytes:
        if refusal := self._refusal(key):
            return refusal
        self.values[key.decode()] = value
        self.kept_seconds[key.decode()] = ttl_seconds
        return DONE

    def kv_delete(self, key: bytes) -> bytes:
        found = self.values.pop(key.decode(), None)
        return self._refusal(key) or (ABSENT if found is None else DONE)

    def kv_add(self, key: bytes, delta: int) -> bytes:
        if refusal := self._refusal(key):
            return refusal
        total = int(self.values.get(key.decode(), b"0")) + delta
        self.values[key.decode()] = str(total).encode()
        return DONE + total.to_bytes(8, "little", signed=True)

    def http_fetch(self, request: bytes) -> bytes:
        self.requests.append(request)
        return self.fetch(request)

    def _refusal(self, key: bytes) -> bytes:
        namespace, slash, rest = key.decode().partition("/")
        if not (namespace and slash and rest):
            return failed("kv.key_invalid")
        return b"" if f"kv:{namespace}" in self.grants else failed("host_call.not_granted")


@dataclass
class Guest:
    """One instance of a module with an example's limits, and the world that it sees."""

    engine: Engine
    module: Module
    example: Example
    directory: Path
    world: World = field(init=False)

    def __post_init__(self) -> None:
        self.world = World(grants=self.example.grants, config=self.example.env)

    def run(self, data: bytes) -> Ran:
        self.store = Store(self.engine)
        self.store.set_fuel(self.example.limits["fuel"])
        self.store.set_limits(memory_size=self.example.limits["memory_bytes"])
        speak = self._run_wasi if self.example.manifest["abi"] == "wasi:preview1" else self._run_v1
        try:
            return speak(data)
        except Trap as trap:
            if trap.trap_code is TrapCode.OUT_OF_FUEL:
                return Ran("limit_exceeded", limit="fuel")
            return Ran("trapped", str(trap).encode())

    def _run_v1(self, data: bytes) -> Ran:
        linker = Linker(self.engine)
        HostCalls(self.world).define(linker)
        self.instance = linker.instantiate(self.store, self.module)
        pointer = self._call("stockade_v1_alloc", len(data))
        self._memory().write(self.store, data, pointer)
        start, length = unpack(self._call("stockade_v1_run", pointer, len(data)))
        return read_frame(bytes(self._memory().read(self.store, start, start + length)))

    def _run_wasi(self, data: bytes) -> Ran:
        stdin, stdout = self.directory / "stdin", self.directory / "stdout"
        stdin.write_bytes(data)
        streams = WasiConfig()
        streams.stdin_file = str(stdin)
        streams.stdout_file = str(stdout)
        self.store.set_wasi(streams)
        linker = Linker(self.engine)
        linker.define_wasi()
        self.instance = linker.instantiate(self.store, self.module)
        try:
            self._call("_start")
        except ExitTrap as exited:
            return Ran("completed" if exited.code == 0 else "rejected", stdout.read_bytes())
        return Ran("completed", stdout.read_bytes())

    def _memory(self) -> Memory:
        memory = _exports(self.instance, self.store)["memory"]
        assert isinstance(memory, Memory)
        return memory

    def _call(self, name: str, *arguments: int) -> int:
        function = _exports(self.instance, self.store)[name]
        assert isinstance(function, Func)
        return int(function(self.store, *arguments) or 0)


def _exports(instance: Instance, store: Store) -> dict[str, object]:
    exports = instance.exports(store)
    return dict(zip(exports, exports.values(), strict=True))


class HostCalls:
    """The functions that a guest imports; each checks that the guest keeps to `ABI.md`."""

    def __init__(self, world: World) -> None:
        self._world = world

    def define(self, linker: Linker) -> None:
        i32, i64 = ValType.i32(), ValType.i64()
        types = {"i": i32, "l": i64}
        for name, call, parameters, result in (
            ("log", self._log, "iii", ""),
            ("now_ms", self._now_ms, "", "l"),
            ("random", self._random, "ii", ""),
            ("emit", self._emit, "iiii", ""),
            ("progress", self._progress, "iii", ""),
            ("span_open", self._span_open, "ii", "i"),
            ("span_close", self._span_close, "i", ""),
            ("span_attribute", self._span_attribute, "iiiii", ""),
            ("config_get", self._replying(self._world.config_get), "ii", "l"),
            ("secret_get", self._replying(self._world.secret_get), "ii", "l"),
            ("kv_get", self._replying(self._world.kv_get), "ii", "l"),
            ("kv_delete", self._replying(self._world.kv_delete), "ii", "l"),
            ("http_fetch", self._replying(self._world.http_fetch), "ii", "l"),
            ("kv_add", self._kv_add, "iil", "l"),
            ("kv_set", self._kv_set, "iiiii", "l"),
        ):
            kind = FuncType([types[it] for it in parameters], [types[it] for it in result])
            linker.define_func("stockade:v1", name, kind, call, access_caller=True)

    def _log(self, caller: Caller, level: int, pointer: int, length: int) -> None:
        assert level in range(5)
        self._world.logs.append((level, read(caller, pointer, length)))

    def _now_ms(self, _caller: Caller) -> int:
        return self._world.now_ms

    def _random(self, caller: Caller, pointer: int, length: int) -> None:
        assert length & 0xFFFFFFFF <= 65_536
        write(caller, pointer, bytes(at % 251 for at in range(length)))

    def _emit(self, caller: Caller, name: int, name_size: int, data: int, size: int) -> None:
        called = read(caller, name, name_size)
        assert len(called) in range(1, 65)
        self._world.events.append((called.decode(), read(caller, data, size).decode()))

    def _progress(self, caller: Caller, percent: int, pointer: int, length: int) -> None:
        message = read(caller, pointer, length)
        assert percent in range(101)
        assert len(message) <= 256
        self._world.progress.append((percent, message.decode()))

    def _span_open(self, caller: Caller, name: int, size: int) -> int:
        called = read(caller, name, size)
        assert len(called) in range(1, 65)
        self._world.spans.append(f"open {called.decode()}")
        return sum(one.startswith("open") for one in self._world.spans)

    def _span_close(self, _caller: Caller, number: int) -> None:
        self._world.spans.append(f"close {number}")

    def _span_attribute(
        self, caller: Caller, number: int, name: int, name_size: int, value: int, size: int
    ) -> None:
        called, told = read(caller, name, name_size), read(caller, value, size)
        assert len(called) in range(1, 65)
        assert len(told) <= 256
        self._world.spans.append(f"{number} {called.decode()}={told.decode()}")

    def _replying(self, call: Callable[[bytes], bytes]) -> Callable[[Caller, int, int], int]:
        def replying(caller: Caller, pointer: int, length: int) -> int:
            return hand_over(caller, call(read(caller, pointer, length)))

        return replying

    def _kv_add(self, caller: Caller, key: int, size: int, delta: int) -> int:
        return hand_over(caller, self._world.kv_add(read(caller, key, size), delta))

    def _kv_set(
        self, caller: Caller, key: int, key_size: int, value: int, size: int, ttl_seconds: int
    ) -> int:
        name, content = read(caller, key, key_size), read(caller, value, size)
        return hand_over(caller, self._world.kv_set(name, content, ttl_seconds & 0xFFFFFFFF))


def read(caller: Caller, pointer: int, length: int) -> bytes:
    start, size = pointer & 0xFFFFFFFF, length & 0xFFFFFFFF
    memory = caller["memory"]
    assert isinstance(memory, Memory)
    assert start + size <= memory.data_len(caller)
    return bytes(memory.read(caller, start, start + size))


def write(caller: Caller, pointer: int, data: bytes) -> None:
    memory = caller["memory"]
    assert isinstance(memory, Memory)
    memory.write(caller, data, pointer & 0xFFFFFFFF)


def hand_over(caller: Caller, reply: bytes) -> int:
    """Returns a reply as the ABI says, as the signed number that the bindings want."""
    allocate = caller["stockade_v1_alloc"]
    assert isinstance(allocate, Func)
    pointer = int(allocate(caller, len(reply))) & 0xFFFFFFFF
    write(caller, pointer, reply)
    packed = pointer << 32 | len(reply)
    return packed - (1 << 64) if packed >> 63 else packed
