"""`KeyValueStore` in memory, for tests: the rules of Redis, gone with the process."""

from stockade.core.key_values import KeyValueQuota, full, not_a_number, overflow
from stockade.core.ports import Clock

_LOWEST, _HIGHEST = -(1 << 63), (1 << 63) - 1
_Place = tuple[str, str]


class MemoryKeyValueStore:
    """See `KeyValueStore`."""

    def __init__(self, clock: Clock, quota: KeyValueQuota) -> None:
        self._clock = clock
        self._quota = quota
        self._kept: dict[str, dict[_Place, tuple[bytes, int]]] = {}

    async def aclose(self) -> None:
        """Nothing to close."""

    async def get(self, tenant: str, namespace: str, key: str) -> bytes | None:
        """The value, or None."""
        found = self._own(tenant).get((namespace, key))
        return None if found is None else found[0]

    async def set(
        self, tenant: str, namespace: str, key: str, value: bytes, ttl_seconds: int
    ) -> None:
        """Sets the value, for so many seconds or (0) for good."""
        self._quota.check_value(value)
        ends_ms = self._clock.now_ms() + ttl_seconds * 1000 if ttl_seconds else 0
        self._write(tenant, (namespace, key), value, ends_ms)

    async def delete(self, tenant: str, namespace: str, key: str) -> bool:
        """Deletes the value; False when there was none."""
        return self._own(tenant).pop((namespace, key), None) is not None

    async def add(self, tenant: str, namespace: str, key: str, delta: int) -> int:
        """Adds to the number that the value is, absent counting as 0; the sum."""
        value, ends_ms = self._own(tenant).get((namespace, key), (b"0", 0))
        number = _number(value)
        if number is None:
            raise not_a_number()
        if not _LOWEST <= number + delta <= _HIGHEST:
            raise overflow()
        self._write(tenant, (namespace, key), str(number + delta).encode(), ends_ms)
        return number + delta

    async def clear(self, tenant: str) -> None:
        """Deletes all that a tenant keeps."""
        self._kept.pop(tenant, None)

    def _own(self, tenant: str) -> dict[_Place, tuple[bytes, int]]:
        own, now_ms = self._kept.setdefault(tenant, {}), self._clock.now_ms()
        for place in [place for place, (_, ends_ms) in own.items() if 0 < ends_ms <= now_ms]:
            del own[place]
        return own

    def _write(self, tenant: str, place: _Place, value: bytes, ends_ms: int) -> None:
        own = self._own(tenant)
        others = [(at, kept) for at, kept in own.items() if at != place]
        size = sum(_size(at, *kept) for at, kept in others) + _size(place, value, ends_ms)
        if len(others) >= self._quota.max_keys or size > self._quota.max_bytes:
            raise full(self._quota)
        own[place] = value, ends_ms


def _size(place: _Place, value: bytes, ends_ms: int) -> int:
    return len("/".join(place).encode()) + len(f"{ends_ms}:") + len(value)


def _number(value: bytes) -> int | None:
    """The number that Redis would read, whose only form is the shortest."""
    try:
        number = int(value)
    except ValueError:
        return None
    exact = str(number).encode() == value
    return number if exact and _LOWEST <= number <= _HIGHEST else None
