"""What the in-memory queue takes in and refuses: the rules of `redis_scripts/submit.lua`."""

from stockade.core.invocations import Invocation
from stockade.infra.memory.memory_queue_state import MemoryQueueState
from stockade.infra.queue_answers import (
    Answer,
    SubmitAnswer,
    backlog_limit,
    submission_digest,
)
from stockade.infra.queue_settings import QueueSettings


def accept(
    invocation: Invocation, state: MemoryQueueState, settings: QueueSettings, now_ms: int
) -> Answer:
    """Takes the invocation in, finds the one it repeats, or says why not."""
    if repeated := _repeated(invocation, state):
        return repeated
    if refused := _refusal(invocation, state, settings, now_ms):
        return refused
    if invocation.idempotency_key is not None:
        entry = submission_digest(invocation), invocation.id
        state.keys[invocation.tenant, invocation.idempotency_key] = entry
    state.add(invocation, now_ms)
    return Answer(SubmitAnswer.CREATED, invocation.id)


def _repeated(invocation: Invocation, state: MemoryQueueState) -> Answer | None:
    tenant, of = invocation.tenant, invocation.id
    if of in state.jobs:
        same = state.jobs[of].invocation.tenant == tenant
        return Answer(SubmitAnswer.CREATED if same else SubmitAnswer.ID_TAKEN, of)
    earlier = state.keys.get((tenant, invocation.idempotency_key or ""))
    if earlier is None or invocation.idempotency_key is None:
        return None
    same = earlier[0] == submission_digest(invocation)
    return Answer(SubmitAnswer.EARLIER if same else SubmitAnswer.CONFLICT, earlier[1])


def _refusal(
    invocation: Invocation, state: MemoryQueueState, settings: QueueSettings, now_ms: int
) -> Answer | None:
    """Why a new invocation is not taken in; when it is, it cost its token."""
    full_us, wait_us = _next_token(invocation, state, now_ms * 1000)
    if wait_us > 0:
        return Answer(SubmitAnswer.RATE_LIMITED, invocation.id, wait_us)
    waiting = state.waiting(invocation.tenant)
    if waiting >= backlog_limit(invocation, settings):
        return Answer(SubmitAnswer.FULL, invocation.id, waiting)
    shedding = settings.shedding
    bound_of = shedding.bound_of_few if waiting < shedding.few else shedding.bound
    if state.all_waiting() >= bound_of(invocation.priority):
        return Answer(SubmitAnswer.SHED, invocation.id)
    if invocation.rate_limit is not None:
        state.full_us[invocation.tenant] = full_us
    return None


def _next_token(invocation: Invocation, state: MemoryQueueState, now_us: int) -> tuple[int, int]:
    """When the bucket will be full again once a token is taken, and how long until there is one."""
    limit = invocation.rate_limit
    if limit is None:
        return 0, 0
    empty_us = now_us + limit.allowance_us
    until_us = state.full_us.get(invocation.tenant, 0)
    taken_us = (until_us if now_us <= until_us <= empty_us else now_us) + limit.interval_us
    return taken_us, taken_us - empty_us
