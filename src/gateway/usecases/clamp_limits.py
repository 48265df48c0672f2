"""What a version may use now: its own limits, under the ceilings of its tenant's plan.

A plan that was lowered after the deploy counts from the next invocation on.
"""

from dataclasses import replace

from gateway.services import Services
from stockade.core.limits import Limits
from stockade.core.modules import FunctionContent, FunctionVersion, may_rise
from stockade.core.plans import Plan


def clamped_content(services: Services, version: FunctionVersion) -> FunctionContent:
    """The version's content, no limit above its ceiling."""
    content = version.content
    limits = services.plans.current.of(version.tenant).clamp(content.limits)
    return content if limits is content.limits else replace(content, limits=limits)


def raise_ceilings(services: Services, tenant: str, content: FunctionContent) -> Limits | None:
    """How far an attempt's limits may rise, or would by the shadow policy; None where neither."""
    never = content.retry.policy == "never" and not content.auto_limits
    return None if never else services.plans.current.of(tenant).ceilings


def most_limits(plan: Plan, content: FunctionContent) -> Limits:
    """The most that an attempt of the version may get: what policies are asked about."""
    most = {name: getattr(plan.ceilings, name) for name in may_rise(content)}
    return replace(content.limits, **most) if most else content.limits


def input_bound(services: Services, version: FunctionVersion) -> int:
    """How many bytes an input of the version may have now."""
    ceilings = services.plans.current.of(version.tenant).ceilings
    return min(version.content.limits.input_bytes, ceilings.input_bytes)
