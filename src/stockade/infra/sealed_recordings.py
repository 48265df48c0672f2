"""`RecordingStore` beside the invocations' payloads: msgpack, sealed for its tenant and attempt."""

import msgspec

from stockade.core.errors import StockadeError
from stockade.core.ports import PayloadStore, SecretBox
from stockade.core.recordings import Recording


class SealedRecordings:
    """See `RecordingStore`. What it stores is a payload of the invocation, and swept like one.

    Args:
        payloads: Where sealed recordings are kept.
        secret_box: Seals them; whoever reads the store alone reads none of them.
    """

    def __init__(self, payloads: PayloadStore, secret_box: SecretBox) -> None:
        self._payloads = payloads
        self._secret_box = secret_box

    async def put(self, tenant: str, recording: Recording) -> str:
        """Stores a recording durably; its reference."""
        place = _place(recording.invocation_id, recording.attempt)
        sealed = self._secret_box.seal(tenant, place, msgspec.msgpack.encode(recording))
        return await self._payloads.put(tenant, recording.invocation_id, sealed)

    async def get(
        self, tenant: str, invocation_id: str, attempt: int, reference: str
    ) -> Recording | None:
        """The recording, or None when it is gone."""
        try:
            sealed = await self._payloads.get(tenant, invocation_id, reference)
            if sealed is None:
                return None
            place = _place(invocation_id, attempt)
            content = self._secret_box.open(tenant, place, sealed)
            recording = msgspec.msgpack.decode(content, type=Recording)
        except StockadeError as error:
            if error.code not in {"blobs.corrupt", "secret.unreadable"}:
                raise
            raise _unreadable() from error
        except msgspec.MsgspecError as error:
            raise _unreadable() from error
        if (recording.invocation_id, recording.attempt) != (invocation_id, attempt):
            raise _unreadable()
        return recording


def _place(invocation_id: str, attempt: int) -> str:
    """No secret has such a name: theirs hold no slash."""
    return f"recording/{invocation_id}/{attempt}"


def _unreadable() -> StockadeError:
    return StockadeError(
        "recording.unreadable",
        "The recording was changed, is another attempt's, or was sealed with a key that this"
        " installation no longer has. The run cannot be replayed.",
    )
