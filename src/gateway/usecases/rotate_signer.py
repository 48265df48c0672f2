"""Puts a new key in a signer's place; for a while both count, as one party."""

import re
from collections.abc import Sequence
from dataclasses import replace

from gateway.services import Services
from stockade.core.errors import StockadeError, not_found
from stockade.core.modules import Signer
from stockade.core.trust import MAX_SIGNERS

MAX_OVERLAP_SECONDS = 366 * 24 * 3600
_MAX_NAME_CHARACTERS = 63
_NUMBER = re.compile(r"-[0-9]+$")


async def rotate_signer(
    services: Services, tenant: str, successor: Signer, overlap_seconds: int
) -> Signer:
    """Trusts the successor of the signer that it replaces, whose time ends after the overlap.

    Args:
        services: The gateway's.
        tenant: Whose signers they are.
        successor: With an empty name it takes the first free one: `ci-2` after `ci`. Asked again
            with the same key, it is the one that is there.
        overlap_seconds: How long the predecessor goes on counting.

    Raises:
        StockadeError: `signer.not_found`, `signer.exists`, `signer.overlap_invalid`,
            `signer.too_many`.
    """
    if not 0 <= overlap_seconds <= MAX_OVERLAP_SECONDS:
        raise StockadeError(
            "signer.overlap_invalid", f"overlap_seconds is 0 to {MAX_OVERLAP_SECONDS}."
        )
    until_ms = services.clock.now_ms() + overlap_seconds * 1000
    known = await services.catalog.signers(tenant)
    successor = _named(successor, known)
    check_room(successor, known)
    if not await services.catalog.rotate_signer(tenant, successor, until_ms):
        raise not_found("signer", successor.replaces or "")
    return successor


def check_room(signer: Signer, known: Sequence[Signer]) -> None:
    """Refuses one more signer than a tenant may have.

    Raises:
        StockadeError: `signer.too_many`.
    """
    if len(known) >= MAX_SIGNERS and signer.name not in {one.name for one in known}:
        raise StockadeError(
            "signer.too_many",
            f"This tenant has {MAX_SIGNERS} signers, as many as it may, revoked ones included. Ask"
            " the operator.",
            detail={"most": MAX_SIGNERS},
        )


def _named(successor: Signer, known: Sequence[Signer]) -> Signer:
    if successor.name:
        return successor
    for one in known:
        if (one.public_key, one.replaces) == (successor.public_key, successor.replaces):
            return replace(successor, name=one.name)
    taken = {one.name for one in known}
    stem = _NUMBER.sub("", successor.replaces or "")
    numbers = (f"-{number}" for number in range(2, len(taken) + 3))
    names = (stem[: _MAX_NAME_CHARACTERS - len(end)].rstrip("-") + end for end in numbers)
    return replace(successor, name=next(name for name in names if name not in taken))
