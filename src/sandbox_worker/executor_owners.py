"""Whose each executor was, for who watches processes from outside, after their end too."""

from collections import OrderedDict
from pathlib import Path

_MOST = 4096
_PID_NAMESPACE = Path("/proc/self/ns/pid")


class ExecutorOwners:
    """The tenants of the executors that were lent last, by process id."""

    def __init__(self) -> None:
        self._tenants: OrderedDict[int, str] = OrderedDict()

    def note(self, process_id: int, tenant: str) -> None:
        """An executor got its tenant, which it keeps until its end."""
        self._tenants.pop(process_id, None)
        self._tenants[process_id] = tenant
        if len(self._tenants) > _MOST:
            self._tenants.popitem(last=False)

    def told(self) -> dict[str, object]:
        """JSON-ready. Process ids mean something in their own namespace alone."""
        namespace = _PID_NAMESPACE.stat().st_ino
        executors = {str(process_id): tenant for process_id, tenant in self._tenants.items()}
        return {"pid_namespace": namespace, "executors": executors}
