"""How adapters write learned states and the names of their scopes."""

import msgspec

from stockade.core.learned_states import MAX_STATE_BYTES, Scope


def name_of(scope: Scope) -> tuple[str, str]:
    """The tenant, and the scope's name within it. Functions' names have no slash."""
    return (scope[0], "/".join(scope[1:])) if scope else ("", "")


def scope_of(tenant: str, name: bytes) -> Scope:
    """The scope of a name."""
    function, slash, rest = name.decode(errors="surrogateescape").partition("/")
    return (tenant, function, rest) if slash else (tenant,)


def packed(state: object) -> bytes:
    """A plain form as MessagePack; nothing for None.

    Raises:
        RuntimeError: It is larger than a state can be.
    """
    made = b"" if state is None else msgspec.msgpack.encode(state)
    if len(made) > MAX_STATE_BYTES:
        raise RuntimeError("A learned state is larger than its bounds allow.")
    return made


def unpacked(found: bytes) -> object:
    """The plain form; the bytes themselves where they are none."""
    if len(found) > MAX_STATE_BYTES:
        return found
    try:
        return msgspec.msgpack.decode(found)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return found
