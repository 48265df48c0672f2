"""What retries came to: every call, what it answers, and how that is read."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx

from stockade_client.calls import Call
from stockade_client.fields import Fields
from stockade_client.functions import path


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Retries whose estimate lay between `least` and `most`: the mean of it, and what came."""

    least: float
    most: float
    trials: int
    predicted: float
    observed: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """Estimates of success against what happened; `error` is the mean distance, by trials."""

    trials: int = 0
    error: float | None = None
    bins: tuple[CalibrationBin, ...] = ()


@dataclass(frozen=True, slots=True)
class ShadowEffect:
    """What would have changed had the shadow ruled.

    Saved and lost are counted as they happened; added and won are reckoned from estimates.
    `unestimated` are additions without one.
    """

    saved_attempts: int = 0
    saved_fuel: int = 0
    lost_successes: int = 0
    added_attempts: float = 0.0
    added_fuel: int = 0
    won_successes: float = 0.0
    unestimated: int = 0


@dataclass(frozen=True, slots=True)
class RetryReport:
    """A function version's failures, as its retry policy and the shadow decided them.

    `shadow` is None where nothing is tried again. `both_retry`, `both_stop`, `shadow_stops` and
    `shadow_retries` part the `decisions`.
    """

    name: str
    version: int
    policy: str
    shadow: str | None
    attempts: int = 0
    completed: int = 0
    decisions: int = 0
    both_retry: int = 0
    both_stop: int = 0
    shadow_stops: int = 0
    shadow_retries: int = 0
    other_limits: int = 0
    mean_delay_ms: float | None = None
    shadow_mean_delay_ms: float | None = None
    reasons: Mapping[str, int] = field(default_factory=dict)
    shadow_reasons: Mapping[str, int] = field(default_factory=dict)
    effect: ShadowEffect = field(default_factory=ShadowEffect)
    calibration: Calibration = field(default_factory=Calibration)


@dataclass(frozen=True, slots=True)
class LimitAdvice:
    """One limit: what it is and may be, what runs needed, and what it should be, in one sentence.

    `suggested` is None where nothing is to say yet; `automatic` says that the limit follows what
    runs need by itself.
    """

    limit: str
    present: int
    ceiling: int
    runs: int
    failures: int
    automatic: bool
    sentence: str
    p50: int | None = None
    p95: int | None = None
    p99: int | None = None
    most: int | None = None
    suggested: int | None = None


@dataclass(frozen=True, slots=True)
class Advice:
    """What the limits of a function version should be."""

    name: str
    version: int
    limits: tuple[LimitAdvice, ...] = ()


def retry_report(name: str, alias: str | None, version: int | None) -> Call[RetryReport]:
    """GET /v1/functions/{name}/retry-report."""
    return Call("GET", f"{path(name)}/retry-report", _report, params=_version(alias, version))


def advice(name: str, alias: str | None, version: int | None) -> Call[Advice]:
    """GET /v1/functions/{name}/advice."""
    return Call("GET", f"{path(name)}/advice", _advice, params=_version(alias, version))


def _version(alias: str | None, version: int | None) -> dict[str, str]:
    given = {"alias": alias, "version": None if version is None else str(version)}
    return {key: value for key, value in given.items() if value is not None}


def _advice(response: httpx.Response) -> Advice:
    fields = Fields(response.json())
    limits = tuple(map(_limit_advice, fields.objects("limits")))
    return Advice(fields.text("name"), fields.count("version"), limits)


def _limit_advice(fields: Fields) -> LimitAdvice:
    return LimitAdvice(
        limit=fields.text("limit"),
        present=fields.count("present"),
        ceiling=fields.count("ceiling"),
        runs=fields.count("runs"),
        failures=fields.count("failures"),
        automatic=fields.flag("automatic"),
        sentence=fields.text("sentence"),
        p50=fields.maybe_count("p50"),
        p95=fields.maybe_count("p95"),
        p99=fields.maybe_count("p99"),
        most=fields.maybe_count("most"),
        suggested=fields.maybe_count("suggested"),
    )


def _report(response: httpx.Response) -> RetryReport:
    fields = Fields(response.json())
    return RetryReport(
        name=fields.text("name"),
        version=fields.count("version"),
        policy=fields.text("policy"),
        shadow=fields.maybe_text("shadow"),
        attempts=fields.count("attempts"),
        completed=fields.count("completed"),
        decisions=fields.count("decisions"),
        both_retry=fields.count("both_retry"),
        both_stop=fields.count("both_stop"),
        shadow_stops=fields.count("shadow_stops"),
        shadow_retries=fields.count("shadow_retries"),
        other_limits=fields.count("other_limits"),
        mean_delay_ms=fields.maybe_number("mean_delay_ms"),
        shadow_mean_delay_ms=fields.maybe_number("shadow_mean_delay_ms"),
        reasons=fields.pairs("reasons", Fields.count),
        shadow_reasons=fields.pairs("shadow_reasons", Fields.count),
        effect=_effect(fields.nested("effect")),
        calibration=_calibration(fields.nested("calibration")),
    )


def _effect(fields: Fields) -> ShadowEffect:
    return ShadowEffect(
        saved_attempts=fields.count("saved_attempts"),
        saved_fuel=fields.count("saved_fuel"),
        lost_successes=fields.count("lost_successes"),
        added_attempts=fields.number("added_attempts"),
        added_fuel=fields.count("added_fuel"),
        won_successes=fields.number("won_successes"),
        unestimated=fields.count("unestimated"),
    )


def _calibration(fields: Fields) -> Calibration:
    bins = tuple(
        CalibrationBin(
            least=item.number("least"),
            most=item.number("most"),
            trials=item.count("trials"),
            predicted=item.number("predicted"),
            observed=item.number("observed"),
        )
        for item in fields.objects("bins")
    )
    return Calibration(fields.count("trials"), fields.maybe_number("error"), bins)
