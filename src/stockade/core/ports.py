"""Ports: what the processes need of the outside, as Protocols. Adapters stand in `stockade.infra`.

Every method may raise `StockadeError` with code `queue.unavailable`, `catalog.unavailable`,
`blobs.unavailable` (all retryable) when its technology cannot be reached, and `blobs.full` when
there is no room.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from socket import socket
from typing import Protocol

from stockade.core.addresses import Address
from stockade.core.api_keys import ApiKey
from stockade.core.attestations import AttestationStore
from stockade.core.authorization import Decision, Question, Vouching
from stockade.core.egress import EgressPolicy, HttpGrant
from stockade.core.errors import StockadeError
from stockade.core.functions import FunctionStore
from stockade.core.http_messages import HttpRequest, HttpResponse
from stockade.core.invocations import (
    Claim,
    Completion,
    Invocation,
    InvocationRecord,
    SubmitReceipt,
)
from stockade.core.jail_control import JailRole
from stockade.core.module_store import ModuleStore
from stockade.core.modules import SecretEntry
from stockade.core.outcomes import Progress
from stockade.core.schedules import Schedule
from stockade.core.trust import TrustStore
from stockade.core.workloads import WorkloadStore


class Clock(Protocol):
    """Wall-clock time and fresh ids."""

    def now_ms(self) -> int:
        """Unix time in milliseconds."""

    def new_id(self) -> str:
        """A new UUIDv7, in its canonical text form."""


RecordLookup = Callable[[str, str], Awaitable[bool]]
"""Whether a tenant has a record of this invocation id."""


class PayloadStore(Protocol):
    """Inputs and outputs that are too large for a record, kept for as long as their record."""

    async def put(self, tenant: str, invocation_id: str, content: bytes) -> str:
        """Stores the bytes durably and returns their digest (`stockade.core.digests`)."""

    async def get(self, tenant: str, invocation_id: str, digest: str) -> bytes | None:
        """The bytes, their digest checked anew, or None.

        Raises:
            StockadeError: `blobs.corrupt` when the stored bytes do not match their name.
        """

    async def discard(self, tenant: str, invocation_id: str, digest: str) -> None:
        """Deletes a payload whose invocation was not taken."""

    async def sweep(self, has_record: RecordLookup) -> int:
        """Deletes what is older than records are kept and has no record; how many there were.

        What `has_record` raises ends it: nothing is deleted that was not looked up.
        """


class KeyStore(Protocol):
    """API keys, without their secrets."""

    async def add_key(self, key: ApiKey) -> None:
        """Stores a key; the same key again is no change.

        Raises:
            StockadeError: `key.exists` when another key has its id; `tenant.not_found`.
        """

    async def find_key(self, key_id: str) -> ApiKey | None:
        """The key with this id, of whichever tenant."""

    async def keys(self, tenant: str) -> Sequence[ApiKey]:
        """All keys of the tenant, those no longer in force too, by when they were made."""

    async def expire_key(self, tenant: str, key_id: str, expires_ms: int) -> bool:
        """Ends a key's time no later than this; False when the tenant has no such key."""

    async def revoke_key(self, tenant: str, key_id: str, revoked_ms: int) -> bool:
        """Marks a key revoked (the first time counts); False when the tenant has no such key."""

    async def touch_keys(self, used: Mapping[str, int]) -> None:
        """Notes when keys were last used; earlier times than those known change nothing."""

    async def sweep_keys(self, before_ms: int, most: int) -> int:
        """Deletes up to `most` keys of any tenant that ended before this; how many."""


class Catalog(
    KeyStore, WorkloadStore, TrustStore, FunctionStore, ModuleStore, AttestationStore, Protocol
):
    """What tenants own: keys, signers, modules, secrets; functions, versions, aliases."""

    async def ensure_tenant(self, tenant: str) -> bool:
        """Creates the tenant; False when it was there."""

    async def tenants(self) -> Sequence[str]:
        """The names of all tenants, in order."""

    async def put_secret(self, tenant: str, name: str, sealed: bytes, now_ms: int) -> bool:
        """Stores a sealed secret, in place of an earlier one; True when the name is new."""

    async def secret(self, tenant: str, name: str) -> bytes | None:
        """The sealed secret of this name."""

    async def secrets(self, tenant: str) -> Sequence[SecretEntry]:
        """The tenant's secrets by name, without what they hold."""

    async def delete_secret(self, tenant: str, name: str) -> bool:
        """Deletes a secret; False when there was none."""


class PolicyEngine(Protocol):
    """Who may do what, and whose signatures count. `version` is another when the answers may be."""

    @property
    def version(self) -> str:
        """A digest of the policies in force."""

    @property
    def alarm(self) -> str | None:
        """Why newer policies are not in force; None when these are the newest."""

    def decide(self, question: Question) -> Decision:
        """What the policies say; an error in one of them denies."""

    def vouches(self, vouching: Vouching) -> Decision:
        """Whether the signer's signature counts for the module."""


class ScheduleStore(Protocol):
    """Tenants' schedules, of which every gateway fires what is due."""

    async def add(self, schedule: Schedule, most: int) -> bool:
        """Adds a schedule; False when the tenant has one of this name.

        Raises:
            StockadeError: `schedule.too_many` when the tenant has `most` already.
        """

    async def change(
        self, tenant: str, name: str, rule: Callable[[Schedule], Schedule]
    ) -> Schedule | None:
        """Puts what the rule makes of a schedule in its place, in one step; None without one.

        The rule may be asked more than once, and has no effects.
        """

    async def schedule(self, tenant: str, name: str) -> Schedule | None:
        """The schedule of this name."""

    async def schedules(self, tenant: str) -> Sequence[Schedule]:
        """The tenant's schedules by name, their inputs left out: together they may be large."""

    async def delete(self, tenant: str, name: str) -> bool:
        """Deletes a schedule; False when there was none."""

    async def due(self, now_ms: int, most: int, most_of_tenant: int) -> Sequence[Schedule]:
        """What is due, tenant by tenant in turn; of each tenant what is due longest comes first."""

    async def next_due_ms(self) -> int | None:
        """When the next one of all tenants is due."""


class InvocationQueue(Protocol):
    """Invocations from submission to their one outcome. The record is the truth.

    Gateway side: `submit`, `record`, `cancel`, `wait`. Worker side: the rest.
    """

    async def submit(self, invocation: Invocation) -> SubmitReceipt:
        """Acknowledges an invocation durably, once.

        Raises:
            StockadeError: `invocation.idempotency_conflict` (same key, other input), `queue.full`.
        """

    async def record(self, tenant: str, invocation_id: str) -> InvocationRecord | None:
        """The record, or None when absent or another tenant's."""

    async def invocation(self, tenant: str, invocation_id: str) -> Invocation | None:
        """What was asked, or None when absent or another tenant's.

        An inline input that was not kept is left out. The tenant's share is as it is by default.
        """

    async def cancel(self, tenant: str, invocation_id: str, now_ms: int) -> bool | None:
        """Ends a queued invocation as `cancelled` and asks the worker to stop a running one.

        Returns None when absent or another tenant's, False when it was done already.
        """

    async def submit_many(
        self, tenant: str, invocations: Sequence[Invocation]
    ) -> Sequence[SubmitReceipt | StockadeError]:
        """Submits many of one tenant's invocations; each is answered for itself, in their order."""

    async def dead_letters(
        self, tenant: str, most: int, before: str = ""
    ) -> Sequence[InvocationRecord]:
        """What failed for good and could be redriven, newest submission first.

        Those are the outcomes `trapped`, `limit_exceeded`, `crashed`, `lost` and `expired`.
        `before` is the id after which a list goes on.
        """

    async def redrive(self, tenant: str, invocation_id: str) -> bool | None:
        """Queues a dead letter again, settings kept and attempts counted on.

        A deadline that it had is dropped. Returns None when absent or another tenant's, False when
        it is no dead letter.
        """

    async def wait(self, tenant: str, invocation_id: str, timeout_seconds: float) -> bool:
        """Waits for the hint that an invocation submitted here with `reply_to` is done."""

    async def claim(self, count: int, timeout_seconds: float) -> Sequence[Claim]:
        """Up to `count` claims of this worker, waiting for the first up to the timeout."""

    async def begin(self, claim: Claim, now_ms: int) -> bool:
        """Marks the attempt running; False when the claim is stale or the invocation cancelled."""

    async def complete(self, claim: Claim, completion: Completion) -> bool:
        """Records the attempt's end and acknowledges in one step; False when the claim is stale."""

    async def hand_back(self, claim: Claim, *, ran: bool) -> bool:
        """Gives a claim up for another worker to take at once; False when it is stale.

        No death is counted. `ran` says that the run had begun: then an attempt `lost` is recorded
        and the next one has the next number.
        """

    async def heartbeat(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        """Renews the leases; returns the claims that are no longer held or were cancelled."""

    async def cancellations(self, timeout_seconds: float) -> Sequence[str]:
        """Ids that were cancelled while a worker had them, waiting for the first up to the timeout.

        A hint for all workers, which may be lost; `heartbeat` tells for certain.
        """

    async def report_progress(self, claim: Claim, progress: Progress) -> None:
        """Notes how far a run is; dropped when the claim is not held any more."""

    async def reclaim(self, count: int) -> Sequence[Claim]:
        """Takes over claims whose lease ran out, with the next attempt number, one more death."""

    async def tick(self, capacity: int, now_ms: int) -> int:
        """Announces this worker's capacity and makes due work ready; returns how much."""

    async def time_ms(self) -> int:
        """Unix time in milliseconds by the queue's own clock, which says what is due and over."""


class ModuleCompiler(Protocol):
    """Validates and compiles a module in a jailed process that holds nothing else."""

    async def compile(self, body: bytes, tenant: str = "") -> bytes:
        """The compiled artifact of a core module, for this tenant's turn.

        Raises:
            StockadeError: `module.invalid` when the engine refuses it, `module.too_costly` when
                compiling it passes the jail's processor time, memory or deadline,
                `module.compiler_busy` when its turn does not come soon, `jail.unavailable` when no
                jail can be started.
        """


class JailedProcess(Protocol):
    """A running jailed child: its socket, and the power to end it."""

    connection: socket
    process_id: int

    @property
    def alive(self) -> bool:
        """Whether the child's end has not been seen yet."""

    def kill(self) -> None:
        """Ends the child at once; safe when it has ended already."""

    async def ended(self) -> int:
        """Waits for the end: the exit code, or minus the signal."""


class ProcessMeter(Protocol):
    """What the kernel says of a process; None when it is gone."""

    def resident_bytes(self, process_id: int) -> int | None:
        """What the process holds in memory."""

    def cpu_seconds(self, process_id: int) -> float | None:
        """The processor time that it has used."""


class ProcessBounds(Protocol):
    """Has the kernel hold processes to their memory, where the host lets us."""

    def hold(self, process_id: int) -> None:
        """Bounds a process from now on."""

    def ran_out_of_memory(self, process_id: int) -> bool:
        """Whether the kernel ended the process at its bound; asked when it has ended."""

    def let_go(self, process_id: int) -> None:
        """Forgets a process that has ended."""


class Jail(Protocol):
    """Forks jailed children that hold nothing but their socket."""

    async def fork(self, role: JailRole) -> JailedProcess:
        """A new child.

        Raises:
            StockadeError: `jail.unavailable` when none can be started; retryable.
        """

    async def engine_fingerprint(self) -> str:
        """Names everything that a compiled module depends on: engine version, settings, processor.

        Raises:
            StockadeError: `jail.unavailable`.
        """


class ArtifactCache(Protocol):
    """Compiled modules kept on this host, each under a message authentication code."""

    async def get(self, digest: str) -> bytes | None:
        """The artifact for this module on this host; None when absent or not authentic."""

    async def put(self, digest: str, artifact: bytes) -> None:
        """Keeps an artifact. A cache that cannot be written is no error."""

    def making(self, digest: str) -> AbstractAsyncContextManager[None]:
        """Held by the one process of this host that makes the artifact; others wait for it."""


class ModuleHints(Protocol):
    """Tells workers of uploads, so that they compile a module before its first run."""

    async def tell(self, tenant: str, digest: str) -> None:
        """Says that a module was uploaded; a hint, whose loss is no error."""

    async def hear(self, timeout_seconds: float) -> Sequence[tuple[str, str]]:
        """Tenants and digests since the last look, waiting for the first up to the timeout."""


class HttpEgress(Protocol):
    """Makes guests' HTTP requests: to where a grant and the operator's policy let them."""

    policy: EgressPolicy

    async def fetch(
        self, tenant: str, request: HttpRequest, grants: Sequence[HttpGrant]
    ) -> HttpResponse:
        """The response; redirects are followed, each judged like the request itself.

        Raises:
            StockadeError: `http_fetch.…`.
        """


class NameResolver(Protocol):
    """Tells names' addresses, to each tenant whatever the others ask."""

    async def addresses(self, tenant: str, host: str) -> Sequence[Address]:
        """The addresses of a name.

        Raises:
            OSError: there are none, or they cannot be told.
        """


class KeyValueStore(Protocol):
    """What guests keep between runs, by tenant and namespace. Keys were checked (`check_key`)."""

    async def get(self, tenant: str, namespace: str, key: str) -> bytes | None:
        """The value, or None."""

    async def set(
        self, tenant: str, namespace: str, key: str, value: bytes, ttl_seconds: int
    ) -> None:
        """Sets the value, for so many seconds or (0) for good.

        Raises:
            StockadeError: `kv.value_too_large` or `kv.quota_exceeded`.
        """

    async def delete(self, tenant: str, namespace: str, key: str) -> bool:
        """Deletes the value; False when there was none."""

    async def add(self, tenant: str, namespace: str, key: str, delta: int) -> int:
        """Adds to the number that the value is, absent counting as 0; the sum.

        Raises:
            StockadeError: `kv.not_a_number`, `kv.overflow` or `kv.quota_exceeded`.
        """

    async def clear(self, tenant: str) -> None:
        """Deletes all that a tenant keeps."""


class SecretBox(Protocol):
    """Seals secrets, so that whoever reads the catalog alone reads none of them."""

    def seal(self, tenant: str, name: str, value: bytes) -> bytes:
        """The value, sealed for this tenant and name."""

    def open(self, tenant: str, name: str, sealed: bytes) -> bytes:
        """The value again.

        Raises:
            StockadeError: `secret.unreadable` when it was sealed with another key, for another
                tenant or name, or changed.
        """
