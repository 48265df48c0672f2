"""What verifying costs beside hashing the same bytes, and what a trust check costs a run."""

import hashlib
import time
from collections.abc import Callable
from pathlib import Path

from bench.modules import ECHO
from registry.keys import generate_secret_key, public_bytes
from registry.signature_format import attach, encode_u32
from registry.signing import sign_detached
from registry.verification import verify_module
from sandbox_worker.module_trust import ModuleTrust
from stockade.core.modules import Abi, ModuleFacts, Signer, StoredModule
from stockade.core.trust import FunctionTrust, TrustPolicy
from stockade.infra.memory.memory_blobs import MemoryBlobStore
from stockade.infra.policies.cedar_policies import CedarPolicies
from stockade.infra.sql.sql_catalog import SqlCatalog
from stockade.infra.system_clock import SystemClock

POLICIES = Path(__file__).parents[1] / "policies" / "authorization"
MB = 1_000_000
_NOW_MS = 1_000_000


class _Rules:
    """A deny list that denies something else."""

    current = TrustPolicy(denied={"sha256:" + "0" * 64: "Not this one."})
    alarm: str | None = None


def verify_seconds(size_bytes: int, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds of the processor for verifying a signed module of this size, and for one SHA-256."""
    filler = b"\4fill" + bytes(size_bytes)
    body = ECHO + b"\0" + encode_u32(len(filler)) + filler
    key = generate_secret_key()
    signers = [Signer(f"s{number}", public_bytes(generate_secret_key())) for number in range(3)]
    signers.append(Signer("ci", public_bytes(key)))
    content = attach(body, sign_detached(body, key))
    verified = _seconds(lambda: verify_module(content, None, signers, _NOW_MS), rounds)
    return verified, _seconds(lambda: hashlib.sha256(content).digest(), rounds)


async def check_seconds(folder: Path, rounds: int) -> tuple[list[float], list[float], list[float]]:
    """Seconds for a run's trust check: remembered; asked anew; on a worker that has nothing."""
    catalog, blobs = await SqlCatalog.open(f"sqlite:///{folder / 'trust.db'}"), MemoryBlobStore()
    policies = CedarPolicies.load(POLICIES)
    digest = await _store(catalog, blobs)
    parts = (catalog, blobs, policies, _Rules(), SystemClock())
    remembering, asking = ModuleTrust(*parts, 60.0), ModuleTrust(*parts, 0.0)
    figures: list[list[float]] = []
    for trust in (remembering, asking, None):
        taken = []
        for _ in range(rounds):
            one = trust or ModuleTrust(*parts, 0.0)
            started = time.perf_counter()
            await one.check("acme", digest, "pay")
            taken.append(time.perf_counter() - started)
        figures.append(taken[1:])
    await catalog.aclose()
    kept, asked, fresh = figures
    return kept, asked, fresh


async def _store(catalog: SqlCatalog, blobs: MemoryBlobStore) -> str:
    """A module of a tenant, signed by both whom its function asks for."""
    keys = [generate_secret_key() for _ in range(2)]
    await catalog.ensure_tenant("acme")
    for number, key in enumerate(keys):
        await catalog.add_signer("acme", Signer(f"s{number}", public_bytes(key)))
    digest = await blobs.put(ECHO)
    facts = ModuleFacts(Abi.STOCKADE_V1, (), (), deterministic=True, size_bytes=len(ECHO))
    signatures = tuple(sign_detached(ECHO, key) for key in keys)
    await catalog.add_module(StoredModule("acme", digest, facts, signatures, _NOW_MS))
    await catalog.put_function_trust("acme", "pay", FunctionTrust(2))
    return digest


def _seconds(step: Callable[[], object], rounds: int) -> list[float]:
    taken = []
    for _ in range(rounds):
        started = time.process_time()
        step()
        taken.append(time.process_time() - started)
    return taken
