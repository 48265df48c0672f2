"""What is said between a zygote and the process that holds it, as datagrams of msgpack."""

from dataclasses import dataclass
from enum import StrEnum


class JailRole(StrEnum):
    """What a jailed child is for."""

    EXECUTOR = "executor"
    COMPILER = "compiler"


@dataclass(frozen=True, slots=True)
class ForkCommand:
    """Fork child number `child`; the socket that it serves comes along."""

    child: int
    role: JailRole


@dataclass(frozen=True, slots=True)
class JailEvent:
    """A child runs (`status` None; a descriptor of its process comes along) or ended.

    `status` is the exit code, or minus the signal that killed the child.
    """

    child: int
    process_id: int
    status: int | None = None


def engine_of(fingerprint: str) -> str:
    """The part of an engine's fingerprint that decides what guests do and what fuel they use.

    What is left out is the processor's model, which compiled code depends on.
    """
    return fingerprint.rpartition("-")[0]


MAX_DATAGRAM_BYTES = 4096
LANDLOCK_OPTIONAL = "landlock-optional"
"""The zygote's argument that lets its children live on kernels without Landlock."""
COMPILED, REFUSED = b"\0", b"\1"
"""First byte of a compiler's answer: the artifact follows, or the engine's reason."""
