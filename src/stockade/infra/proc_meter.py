"""`ProcessMeter` by `/proc`: what the kernel says of a process, not what it says of itself."""

import os
from pathlib import Path

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")
_RESIDENT = 1
_USER_TICKS, _SYSTEM_TICKS = 11, 12
"""Places after the command's name in `stat` (proc(5), fields 14 and 15)."""


class ProcMeter:
    """See `ProcessMeter`."""

    def resident_bytes(self, process_id: int) -> int | None:
        """What the process holds in memory; None when it is gone."""
        fields = _fields(f"/proc/{process_id}/statm")
        return None if fields is None else int(fields[_RESIDENT]) * _PAGE_BYTES

    def cpu_seconds(self, process_id: int) -> float | None:
        """The processor time it has used; None when it is gone."""
        fields = _fields(f"/proc/{process_id}/stat")
        if fields is None:
            return None
        return (int(fields[_USER_TICKS]) + int(fields[_SYSTEM_TICKS])) / _TICKS


def _fields(path: str) -> list[str] | None:
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The name stands in brackets, and may hold anything.
    return text.rpartition(")")[2].split()
