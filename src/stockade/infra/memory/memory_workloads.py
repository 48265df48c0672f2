"""The keys of CI jobs in this process's memory."""

from collections.abc import Callable

from stockade.core.api_keys import ApiKey
from stockade.core.principals import Kind
from stockade.core.workloads import UsedToken
from stockade.infra.catalog_values import check_storable, key_taken
from stockade.infra.memory.memory_keys import MemoryKeyStore


class MemoryWorkloadStore(MemoryKeyStore):
    """The `WorkloadStore` port in dictionaries, beside the keys that people make."""

    def __init__(self, check_tenant: Callable[[str], None]) -> None:
        super().__init__(check_tenant)
        self._used_tokens: dict[bytes, int] = {}

    async def admit_workload(self, token: UsedToken, key: ApiKey) -> bool:
        """Stores the key and remembers the token in one step; False when the token was used."""
        check_storable(token.expires_ms)
        if token.hash in self._used_tokens:
            return False
        if key.id in self._keys:
            raise key_taken(key.id)
        await self.add_key(key)
        self._used_tokens[token.hash] = token.expires_ms
        return True

    async def sweep_workloads(self, before_ms: int) -> int:
        """Deletes keys of jobs, and tokens, that ended before this; how many keys there were."""
        check_storable(before_ms)
        for token in [one for one, ends_ms in self._used_tokens.items() if ends_ms < before_ms]:
            del self._used_tokens[token]
        ended = [
            key.id
            for key in self._keys.values()
            if key.kind is Kind.WORKLOAD and (key.expires_ms or 0) < before_ms
        ]
        for key_id in ended:
            del self._keys[key_id]
        return len(ended)
