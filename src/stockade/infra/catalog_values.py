"""What any catalog can hold: text and numbers that every technology stores, and canonical JSON.

Callers check names and digests long before; this is the last line, the same for every adapter: a
hostile string is a refusal (on writes) or simply absent (on reads), never a driver's own exception.
"""

import msgspec

from stockade.core.errors import StockadeError
from stockade.core.modules import Signer, VersionNote
from stockade.core.schedules import CronTiming, Schedule
from stockade.core.trust import FunctionTrust

_MAX_VERSION = 2**31 - 1  # version numbers fill a 32-bit column
_MIN_INTEGER, _MAX_INTEGER = -(2**63), 2**63 - 1


def storable(*values: str | int | None) -> bool:
    """Whether every text is UTF-8 without NUL and every number has at most 64 bits."""
    return all(_storable(value) for value in values)


def storable_version(version: int) -> bool:
    """Whether there could be a version of this number."""
    return 0 < version <= _MAX_VERSION


def check_storable(*values: str | int | None) -> None:
    """Refuses what no catalog could give back unchanged.

    Raises:
        StockadeError: `catalog.value_invalid`.
    """
    if not storable(*values):
        raise _invalid()


def check_note_storable(note: VersionNote) -> None:
    """Refuses what nobody could read again of a version.

    Raises:
        StockadeError: `catalog.value_invalid`.
    """
    check_storable(note.by, note.message, *(text for label in note.labels for text in label))


def check_signer_storable(tenant: str, signer: Signer) -> None:
    """Refuses a signer that no store could give back unchanged.

    Raises:
        StockadeError: `catalog.value_invalid`.
    """
    check_storable(tenant, signer.name, signer.revoked_reason, signer.replaces)
    check_storable(signer.not_before_ms, signer.not_after_ms, signer.revoked_ms)


def check_trust_storable(tenant: str, function: str, trust: FunctionTrust) -> None:
    """Refuses what no store could give back unchanged.

    Raises:
        StockadeError: `catalog.value_invalid`.
    """
    check_storable(tenant, function, *trust.signers)
    if not storable_version(trust.threshold):
        raise _invalid()


def check_schedule_storable(schedule: Schedule) -> None:
    """Refuses a schedule that no store could give back unchanged.

    Raises:
        StockadeError: `catalog.value_invalid`.
    """
    asked, timing = schedule.definition, schedule.definition.timing
    if isinstance(timing, CronTiming):
        check_storable(timing.expression, timing.time_zone)
    else:
        check_storable(timing.every_seconds, timing.anchor_ms)
    check_storable(schedule.tenant, schedule.name, schedule.id, asked.function, asked.alias)
    check_storable(schedule.created_ms, schedule.next_ms, schedule.due_ms, schedule.last_ms)
    if asked.version is not None and not storable_version(asked.version):
        raise _invalid()
    to_json(schedule.refusal)


def to_json(content: object) -> str:
    """Canonical JSON: equal content has equal text.

    Raises:
        StockadeError: `catalog.value_invalid`.
    """
    try:
        return msgspec.json.encode(content, order="deterministic").decode()
    except UnicodeEncodeError as error:
        raise _invalid() from error


def no_tenant(name: str) -> StockadeError:
    """The refusal of a write for a tenant that was never created."""
    return StockadeError("tenant.not_found", f"There is no tenant {name!r}; create it first.")


def no_version(function: str, version: int) -> StockadeError:
    """The refusal of an alias to a version that was never made."""
    return StockadeError("version.not_found", f"Function {function!r} has no version {version}.")


def module_deleted(digest: str) -> StockadeError:
    """The refusal to make something of a module that is deleted."""
    return StockadeError(
        "module.not_found", f"The module {digest} was deleted; upload it again to use it."
    )


def too_many_schedules(most: int) -> StockadeError:
    """The refusal of one schedule more than a tenant may have."""
    return StockadeError(
        "schedule.too_many",
        f"This tenant has {most} schedules, as many as it may. Delete one first.",
        detail={"most": most},
    )


def key_taken(key_id: str) -> StockadeError:
    """The refusal of a key whose id names another key."""
    return StockadeError("key.exists", f"There is another key {key_id!r}; generate a new one.")


def signer_taken(name: str) -> StockadeError:
    """The refusal of a signer whose name or public key another signer of the tenant has."""
    return StockadeError(
        "signer.exists",
        f"The name {name!r} or its public key belongs to another signer of this tenant. Choose"
        " another name and key; a revoked signer stays revoked.",
    )


def _storable(value: str | int | None) -> bool:
    if isinstance(value, int):
        return _MIN_INTEGER <= value <= _MAX_INTEGER
    return value is None or ("\0" not in value and _is_unicode(value))


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _invalid() -> StockadeError:
    return StockadeError(
        "catalog.value_invalid",
        "A text is not valid Unicode or holds a NUL, or a number has more than 64 bits.",
    )
