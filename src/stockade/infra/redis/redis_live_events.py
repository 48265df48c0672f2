"""`LiveEvents` in Redis: a short stream for each invocation that says something, or is listened to.

The scripts of the queue wake listeners where they change a record (`wake_listeners` in the
prelude); without a listener or a word there is no stream, and that costs a look.
"""

from collections.abc import Sequence

import msgspec

from stockade.core.invocations import Claim
from stockade.core.live_events import MOST_BYTES, Heard, Spoken
from stockade.infra.queue_settings import HOUR_MS, QueueSettings
from stockade.infra.redis.redis_connection import RedisConnections, RedisScript
from stockade.infra.redis.redis_keys import RedisKeys, partition_of

_TELL = RedisScript.load("tell")
_LISTEN = RedisScript.load("listen")
_BATCH = 64
_KEPT_MS, _LISTENED_MS = 24 * HOUR_MS, HOUR_MS
"""Of what does not end; behind the end it is as long as the record is."""
_COMMON = QueueSettings().common
_BEGINNING = "0-0"
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Spoken).decode


class RedisLiveEvents:
    """See `LiveEvents`.

    Args:
        connections: To each partition's server, closed with this.
        most_bytes: What is kept of one invocation.
    """

    def __init__(
        self, connections: Sequence[RedisConnections], most_bytes: int = MOST_BYTES
    ) -> None:
        self._connections = connections
        self._most_bytes = most_bytes

    async def aclose(self) -> None:
        """Closes the connections."""
        for connections in self._connections:
            await connections.close()

    async def tell(self, claim: Claim, spoken: Spoken) -> bool:
        """Keeps what an attempt said; False when the claim is not held any more."""
        of, said = claim.invocation, _encode(spoken)
        connections, keys = self._place(of.tenant)
        bounds = (self._most_bytes, _KEPT_MS)
        parts = (of.id, claim.entry, claim.attempt, said, *bounds)
        return bool(await connections.run_once(_TELL, keys.prefix, *_COMMON, *parts))

    async def listen(self, tenant: str, invocation_id: str) -> None:
        """Asks to be woken when the invocation's record changes."""
        connections, keys = self._place(tenant)
        await connections.run_once(_LISTEN, keys.prefix, *_COMMON, invocation_id, _LISTENED_MS)

    async def read(
        self, tenant: str, invocation_id: str, after: str, timeout_seconds: float
    ) -> Heard:
        """What was said behind a place, waiting for it up to the timeout."""
        connections, keys = self._place(tenant)
        place = after or _BEGINNING
        block = ("BLOCK", max(1, int(timeout_seconds * 1000))) if timeout_seconds else ()
        parts = ("XREAD", "COUNT", _BATCH, *block, "STREAMS", keys.live(invocation_id), place)
        reply = await connections.call(*parts, block_seconds=timeout_seconds)
        entries = reply[0][1] if reply else []
        if not entries:
            return Heard(place)
        said = tuple(_decode(value) for _entry, (name, value) in entries if name == b"s")
        return Heard(entries[-1][0].decode(), said)

    def _place(self, tenant: str) -> tuple[RedisConnections, RedisKeys]:
        partition = partition_of(tenant, len(self._connections))
        return self._connections[partition], RedisKeys(partition)
