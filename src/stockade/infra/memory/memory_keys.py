"""API keys in this process's memory."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from stockade.core.api_keys import ApiKey
from stockade.infra.catalog_values import check_storable, key_taken, to_json


class MemoryKeyStore:
    """The `KeyStore` port in a dictionary.

    Args:
        check_tenant: Raises `tenant.not_found`.
    """

    def __init__(self, check_tenant: Callable[[str], None]) -> None:
        self._check_key_tenant = check_tenant
        self._keys: dict[str, ApiKey] = {}

    async def add_key(self, key: ApiKey) -> None:
        """Stores a key; the same key again is no change."""
        times = (key.created_ms, key.expires_ms, key.revoked_ms, key.last_used_ms)
        check_storable(key.id, key.tenant, key.name, key.subject, *times)
        to_json((key.scopes, key.claims))
        self._check_key_tenant(key.tenant)
        stored = self._keys.setdefault(key.id, key)
        if replace(stored, last_used_ms=key.last_used_ms) != key:
            raise key_taken(key.id)

    async def find_key(self, key_id: str) -> ApiKey | None:
        """The key with this id, of whichever tenant."""
        return self._keys.get(key_id)

    async def keys(self, tenant: str) -> Sequence[ApiKey]:
        """All keys of the tenant, those no longer in force too, by when they were made."""
        own = [key for key in self._keys.values() if key.tenant == tenant]
        return tuple(sorted(own, key=lambda key: (key.created_ms, key.id)))

    async def expire_key(self, tenant: str, key_id: str, expires_ms: int) -> bool:
        """Ends a key's time no later than this; False when the tenant has no such key."""
        check_storable(expires_ms)
        key = self._own(tenant, key_id)
        if key is not None and (key.expires_ms is None or key.expires_ms > expires_ms):
            self._keys[key_id] = replace(key, expires_ms=expires_ms)
        return key is not None

    async def revoke_key(self, tenant: str, key_id: str, revoked_ms: int) -> bool:
        """Marks a key revoked (the first time counts); False when the tenant has no such key."""
        check_storable(revoked_ms)
        key = self._own(tenant, key_id)
        if key is not None and key.revoked_ms is None:
            self._keys[key_id] = replace(key, revoked_ms=revoked_ms)
        return key is not None

    async def touch_keys(self, used: Mapping[str, int]) -> None:
        """Notes when keys were last used; earlier times than those known change nothing."""
        check_storable(*used, *used.values())
        for key_id, used_ms in used.items():
            key = self._keys.get(key_id)
            if key is not None and (key.last_used_ms or 0) < used_ms:
                self._keys[key_id] = replace(key, last_used_ms=used_ms)

    async def sweep_keys(self, before_ms: int, most: int) -> int:
        """Deletes up to `most` keys of any tenant that ended before this; how many."""
        ended = [key.id for key in self._keys.values() if key.ended_before(before_ms)][:most]
        for key_id in ended:
            del self._keys[key_id]
        return len(ended)

    def _own(self, tenant: str, key_id: str) -> ApiKey | None:
        key = self._keys.get(key_id)
        return key if key is not None and key.tenant == tenant else None
