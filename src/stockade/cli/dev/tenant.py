"""The tenant `dev` and its API key, made on the first start and kept from then on."""

import os
from pathlib import Path

from stockade.core.api_keys import ApiKey, PresentedKey, generate_key, parse_key
from stockade.core.errors import StockadeError
from stockade.core.ports import Catalog, Clock

TENANT = "dev"
KEY_FILE_NAME = "dev-api-key"


async def ensure_dev_key(catalog: Catalog, clock: Clock, key_file: Path) -> None:
    """Sees to it that the key in the file opens the tenant, whichever of the two is new.

    Raises:
        StockadeError: `dev.key_unusable` when the file holds no key, or one that is not this
            catalog's.
    """
    await catalog.ensure_tenant(TENANT)
    present = _read(key_file)
    if present is not None:
        await _adopt(catalog, clock, present)
        return
    text, key = generate_key(TENANT)
    # The catalog first: a key without its file is of no use to anyone, the other way round fails.
    await catalog.add_key(_stored(key, clock))
    _write(key_file, text)


async def _adopt(catalog: Catalog, clock: Clock, key: PresentedKey) -> None:
    stored = await catalog.find_key(key.id)
    if stored is None:
        await catalog.add_key(_stored(key, clock))
    elif stored.tenant != TENANT or not key.opens(stored, clock.now_ms()):
        raise _unusable("is not valid for this data directory")


def _stored(key: PresentedKey, clock: Clock) -> ApiKey:
    return ApiKey(key.id, TENANT, "stockade dev", key.secret_hash, clock.now_ms())


def _read(key_file: Path) -> PresentedKey | None:
    try:
        return parse_key(key_file.read_text(encoding="ascii").strip())
    except FileNotFoundError:
        return None
    except (StockadeError, UnicodeDecodeError) as error:
        raise _unusable("is damaged") from error


def _write(key_file: Path, text: str) -> None:
    """Whole or not at all, readable by the owner only; no line end, so that it is just the key."""
    aside = key_file.with_suffix(".new")
    aside.unlink(missing_ok=True)
    with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(key_file)


def _unusable(why: str) -> StockadeError:
    return StockadeError(
        "dev.key_unusable",
        f"The API key in {KEY_FILE_NAME} {why}. Delete that file, and the next start makes a key.",
    )
