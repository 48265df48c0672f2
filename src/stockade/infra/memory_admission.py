"""What the in-memory queue refuses, and when: the rules of `redis_scripts/submit.lua`."""

from stockade.core.invocations import Invocation
from stockade.infra.memory_queue_state import MemoryQueueState
from stockade.infra.queue_answers import Answer, SubmitAnswer, backlog_limit
from stockade.infra.queue_settings import QueueSettings


def refusal(
    invocation: Invocation, state: MemoryQueueState, settings: QueueSettings, now_ms: int
) -> Answer | None:
    """Why a new invocation is not taken in; None when it is, and then it cost its token."""
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
