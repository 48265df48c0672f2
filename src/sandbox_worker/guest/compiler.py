"""The compiler: validates and compiles one module, answers, and ends with its process.

The module comes until the other side stops sending; the answer is one byte (`COMPILED` or
`REFUSED`), then the artifact or the engine's reason.
"""

import socket

from wasmtime import Engine, Module, WasmtimeError

from stockade.core.jail_control import COMPILED, REFUSED

_MAX_REFUSAL_BYTES = 1000
_MAX_MODULE_BYTES = 64 * 1024 * 1024
_CHUNK_BYTES = 1 << 20
_MAGIC = b"\0asm\x01\0\0\0"


def serve_compiler(engine: Engine, connection: socket.socket) -> None:
    """Answers the one module that a compiler gets."""
    body = bytearray()
    while chunk := connection.recv(_CHUNK_BYTES):
        body += chunk
        if len(body) > _MAX_MODULE_BYTES:
            return
    connection.sendall(_compile(engine, bytes(body)))


def _compile(engine: Engine, body: bytes) -> bytes:
    # The engine would accept text as well; only a core module's header may pass.
    if not body.startswith(_MAGIC):
        return REFUSED + b"the bytes do not begin with a core module's header"
    try:
        return COMPILED + bytes(Module(engine, body).serialize())
    except WasmtimeError as error:
        return REFUSED + str(error).encode()[:_MAX_REFUSAL_BYTES]
