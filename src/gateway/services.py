"""What the gateway's use cases need of the outside, chosen by `bootstrap`."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.metrics import GatewayMetrics
from gateway.module_judge import ModuleJudge
from gateway.oci.content import OciContent
from gateway.settings import GatewaySettings
from stockade.core.audit import AuditLog
from stockade.core.blobs import BlobStore
from stockade.core.catalog_changes import CatalogChanges
from stockade.core.egress import EgressPolicy
from stockade.core.history import HistoryFeed, HistoryStore
from stockade.core.installation_status import StatusBoard
from stockade.core.learned_states import LearnedStates
from stockade.core.live_events import LiveEvents
from stockade.core.module_store import StoragePolicy
from stockade.core.module_turns import ModuleTurns
from stockade.core.plans import PlanBook
from stockade.core.ports import (
    Catalog,
    Clock,
    InvocationQueue,
    ModuleCompiler,
    ModuleHints,
    PayloadStore,
    PolicyEngine,
    ScheduleStore,
    SecretBox,
)
from stockade.core.recordings import RecordingStore
from stockade.core.retry_tallies import RetryTallies
from stockade.core.schedules import CronCalendar
from stockade.core.shares import SharePolicy
from stockade.core.spans import OFF, NoTraceStore, Tracer, TraceStore
from stockade.core.trust import TrustRules
from stockade.core.upstreams import UpstreamNews, UpstreamStore
from stockade.core.workloads import FixedIdentity, IdentityRules, IssuerKeys, NoIssuerKeys

_MOST_WAITING = 256


@dataclass(frozen=True, slots=True)
class Services:
    """The gateway's ports and settings. `name` is this process, as replies are addressed to it."""

    name: str
    settings: GatewaySettings
    catalog: Catalog
    blobs: BlobStore
    payloads: PayloadStore
    queue: InvocationQueue
    compiler: ModuleCompiler
    clock: Clock
    plans: PlanBook
    policies: PolicyEngine
    trust_rules: TrustRules
    egress_policy: EgressPolicy
    shares: SharePolicy
    secret_box: SecretBox
    recordings: RecordingStore
    hints: ModuleHints
    changes: CatalogChanges
    upstreams: UpstreamStore
    upstream_news: UpstreamNews
    live: LiveEvents
    schedules: ScheduleStore
    calendar: CronCalendar
    oci: OciContent
    storage: StoragePolicy
    audit: AuditLog
    history: HistoryStore
    learned: LearnedStates
    board: StatusBoard
    tallies: RetryTallies
    feeds: Sequence[HistoryFeed] = ()
    weak_walls: tuple[str, ...] = ()
    metrics: GatewayMetrics = field(default_factory=GatewayMetrics)
    identity: IdentityRules = field(default_factory=FixedIdentity)
    issuer_keys: IssuerKeys = field(default_factory=NoIssuerKeys)
    judge: ModuleJudge = field(default_factory=ModuleJudge)
    rereading: ModuleTurns = field(default_factory=lambda: ModuleTurns(_MOST_WAITING))
    """For stored modules, which are read whole to be verified again."""
    tracer: Tracer = OFF
    traces: TraceStore = field(default_factory=NoTraceStore)

    def stale(self) -> dict[str, bool]:
        """Which policy files were changed into what cannot be used."""
        return {
            "authorization": self.policies.alarm is not None,
            "plans": self.plans.alarm is not None,
            "trust": self.trust_rules.alarm is not None,
            "identity": self.identity.alarm is not None,
        }
