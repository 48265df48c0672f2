"""The machine's clock, and ids that grow with it."""

import time

import uuid_utils


class SystemClock:
    """The `Clock` port: wall-clock time, and UUIDv7 that increase within one process."""

    def now_ms(self) -> int:
        """Unix time in milliseconds."""
        return int(time.time() * 1000)  # noqa: TID251 - this is the port's one adapter

    def new_id(self) -> str:
        """A new UUIDv7, in its canonical text form."""
        return str(uuid_utils.uuid7())
