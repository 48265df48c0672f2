"""The plans in force: `policies/limits/*.toml`, and who has which by `policies/plans.toml`."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from stockade.core.errors import StockadeError
from stockade.core.limits import LIMIT_NAMES, Limits
from stockade.core.names import check_name
from stockade.core.plans import Plan, Plans
from stockade.infra.policies.policy_text import Source, read_regular
from stockade.infra.policies.toml_files import parse_toml
from stockade.infra.policies.watched_files import RELOAD_SECONDS, WatchedFiles, following

ASSIGNMENTS, LIMITS = "plans.toml", "limits"
_MAX_BYTES = 4 * 1024 * 1024
S = TypeVar("S", bound=msgspec.Struct)


class _PlanFile(msgspec.Struct, forbid_unknown_fields=True):
    defaults: dict[str, int]
    ceilings: dict[str, int]


class _AssignmentsFile(msgspec.Struct, forbid_unknown_fields=True):
    default: str
    tenants: dict[str, str]


def plan_files(policies: Path) -> WatchedFiles[Plans]:
    """The plans of this directory of policies.

    Raises:
        StockadeError: `config.limits_invalid`: nothing starts with limits it cannot read.
    """
    return WatchedFiles(
        "plans",
        lambda: _read(policies),
        read_plans,
        lambda error: StockadeError(
            "config.limits_invalid", f"The plans in {policies} cannot be used: {error}."
        ),
    )


@asynccontextmanager
async def watched_plans(
    policies: Path, pause_seconds: float = RELOAD_SECONDS
) -> AsyncIterator[WatchedFiles[Plans]]:
    """Plans that follow their files inside.

    Raises:
        StockadeError: `config.limits_invalid`.
    """
    files = plan_files(policies)
    async with following(files, pause_seconds):
        yield files


def read_plans(sources: tuple[Source, ...]) -> Plans:
    """The plans, which must all be whole, and the tenants', which must exist.

    Raises:
        ValueError: And what is wrong where.
    """
    assignments, *files = sources
    plans = {plan.name: plan for plan in map(_plan, files)}
    asked = _converted(assignments, _AssignmentsFile)
    tenants = {tenant: _named(plans, name) for tenant, name in asked.tenants.items()}
    for tenant in tenants:
        _check("tenant", tenant)
    return Plans(_named(plans, asked.default), tenants)


def _read(policies: Path) -> tuple[Source, ...]:
    paths = sorted(path for path in (policies / LIMITS).glob("*.toml") if path.name[0] != ".")
    sources, room = [], _MAX_BYTES
    for path in (policies / ASSIGNMENTS, *paths):
        content = read_regular(path, room)
        room -= len(content)
        sources.append(Source(path.name, content))
    return tuple(sources)


def _plan(source: Source) -> Plan:
    name = source.name.removesuffix(".toml")
    _check("plan", name)
    file = _converted(source, _PlanFile)
    try:
        return Plan(name, _limits(file.defaults), _limits(file.ceilings))
    except ValueError as error:
        raise ValueError(f"{LIMITS}/{source.name}: {error}") from None


def _limits(values: dict[str, int]) -> Limits:
    odd = set(values) ^ set(LIMIT_NAMES)
    if odd:
        raise ValueError(f"each table names every limit and nothing else, not so: {sorted(odd)}")
    return Limits(**values)


def _named(plans: Mapping[str, Plan], name: str) -> Plan:
    if name not in plans:
        raise ValueError(f"{ASSIGNMENTS}: there is no {LIMITS}/{name}.toml")
    return plans[name]


def _check(what: str, name: str) -> None:
    try:
        check_name(what, name)
    except StockadeError as error:
        raise ValueError(error.message) from None


def _converted(source: Source, kind: type[S]) -> S:
    try:
        return parse_toml(source.content, kind)
    except ValueError as error:
        raise ValueError(f"{source.name}: {error}") from None
