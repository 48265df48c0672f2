"""Client for Stockade, a runner of signed WebAssembly modules; needs httpx and nothing else."""

from stockade_client.aliases import Alias, AliasChange
from stockade_client.async_client import AsyncClient
from stockade_client.attestations import Attestation
from stockade_client.audit import AuditEntry, AuditFilter, AuditHead
from stockade_client.client import Client
from stockade_client.errors import (
    ConnectionFailed,
    GuestFailed,
    InvocationPending,
    StockadeApiError,
    StockadeClientError,
)
from stockade_client.functions import (
    DeletedFunction,
    Refusal,
    Rehearsal,
    VersionDiff,
    VersionPage,
)
from stockade_client.history import (
    Amounts,
    Run,
    RunFilter,
    RunPage,
    UsageFilter,
    UsageOfDay,
    UsagePage,
)
from stockade_client.keys import ApiKey, NewApiKey, WorkloadKey
from stockade_client.modules import (
    ModuleDetails,
    ModuleEntry,
    ModulePage,
    ModuleVersion,
    StorageUsage,
)
from stockade_client.recordings import (
    Blank,
    Ending,
    RecordedAttempt,
    RecordedCall,
    Recording,
)
from stockade_client.retries import (
    Advice,
    Calibration,
    CalibrationBin,
    LimitAdvice,
    RetryReport,
    ShadowEffect,
)
from stockade_client.retry_states import (
    LearnedNeed,
    LearnedOutage,
    LearnedRate,
    RetryBudget,
    RetryState,
)
from stockade_client.run_events import RunEvent
from stockade_client.schedules import Cron, Every, FiringTime, Schedule, ScheduleRefusal
from stockade_client.status import InstallationStatus
from stockade_client.traces import Trace, TraceSpan
from stockade_client.trust import FunctionTrust, Signer
from stockade_client.types import (
    Attempt,
    DroppedLines,
    Event,
    Function,
    FunctionDetails,
    FunctionVersion,
    Health,
    Invocation,
    InvokeResult,
    LogLine,
    Logs,
    Module,
    Progress,
    Secret,
    ShadowDecision,
    Usage,
)
from stockade_client.upstreams import Upstream

__all__ = [
    "Advice",
    "Alias",
    "AliasChange",
    "Amounts",
    "ApiKey",
    "AsyncClient",
    "Attempt",
    "Attestation",
    "AuditEntry",
    "AuditFilter",
    "AuditHead",
    "Blank",
    "Calibration",
    "CalibrationBin",
    "Client",
    "ConnectionFailed",
    "Cron",
    "DeletedFunction",
    "DroppedLines",
    "Ending",
    "Event",
    "Every",
    "FiringTime",
    "Function",
    "FunctionDetails",
    "FunctionTrust",
    "FunctionVersion",
    "GuestFailed",
    "Health",
    "InstallationStatus",
    "Invocation",
    "InvocationPending",
    "InvokeResult",
    "LearnedNeed",
    "LearnedOutage",
    "LearnedRate",
    "LimitAdvice",
    "LogLine",
    "Logs",
    "Module",
    "ModuleDetails",
    "ModuleEntry",
    "ModulePage",
    "ModuleVersion",
    "NewApiKey",
    "Progress",
    "RecordedAttempt",
    "RecordedCall",
    "Recording",
    "Refusal",
    "Rehearsal",
    "RetryBudget",
    "RetryReport",
    "RetryState",
    "Run",
    "RunEvent",
    "RunFilter",
    "RunPage",
    "Schedule",
    "ScheduleRefusal",
    "Secret",
    "ShadowDecision",
    "ShadowEffect",
    "Signer",
    "StockadeApiError",
    "StockadeClientError",
    "StorageUsage",
    "Trace",
    "TraceSpan",
    "Upstream",
    "Usage",
    "UsageFilter",
    "UsageOfDay",
    "UsagePage",
    "VersionDiff",
    "VersionPage",
    "WorkloadKey",
]
