"""Suggests limits for a function version, by what its runs needed."""

from gateway.services import Services
from stockade.core.errors import StockadeError
from stockade.core.modules import FunctionVersion
from stockade.retry.advice import Evidence, LimitAdvice, advise
from stockade.retry.parts import Part
from stockade.retry.state import part_of


async def advise_limits(services: Services, version: FunctionVersion) -> tuple[LimitAdvice, ...]:
    """For each limit that can be learned; what cannot be read counts as not known.

    Raises:
        StockadeError: `queue.unavailable`.
    """
    tenant, content = version.tenant, version.content
    plan = services.plans.current.of(tenant)
    evidence = Evidence(
        needs=(await _part(services, version)).needs,
        tally=await services.tallies.tally(tenant, version.name, version.version),
        limits=plan.clamp(content.limits),
        ceilings=plan.ceilings,
        automatic=content.auto_limits,
        raisable=content.retry.policy == "learned",
    )
    return advise(evidence)


async def _part(services: Services, version: FunctionVersion) -> Part:
    scope = (version.tenant, version.name, str(version.version))
    (found,) = await services.learned.load([scope])
    if found is None:
        raise StockadeError(
            "queue.unavailable", "What was learned cannot be asked for now.", retryable=True
        )
    try:
        return Part() if found.state is None else part_of(found.state)
    except ValueError:
        return Part()
