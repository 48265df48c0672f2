"""What a retry decision is made from, what it says, and what is observed of attempts."""

from dataclasses import dataclass, field
from typing import Protocol

from stockade.core.limits import CEILINGS, DEFAULT_LIMITS, Limits
from stockade.core.modules import RetrySettings
from stockade.core.outcomes import Outcome, ReasonCode, Usage


@dataclass(frozen=True, slots=True)
class Source:
    """Whose attempt it was: the function version, and the upstream whose failure it met, if any.

    `upstream` is `capability:host pattern`, such as `http_fetch:api.example.org`.
    """

    tenant: str = ""
    function: str = ""
    version: int = 0
    upstream: str = ""


@dataclass(frozen=True, slots=True)
class FailureContext:
    """One failed attempt, as the worker that saw it knows it. Times are Unix milliseconds.

    `cause` is finer than the outcome: which trap, or which class of status. `repeats` says that the
    attempt before failed in the same way after the same fuel.
    """

    attempt: int
    outcome: Outcome
    limit: str | None
    retry_hint: bool
    deterministic: bool
    now_ms: int
    deadline_ms: int | None
    settings: RetrySettings
    source: Source = field(default_factory=Source)
    cause: str = ""
    repeats: bool = False
    usage: Usage = field(default_factory=Usage)
    limits: Limits = DEFAULT_LIMITS
    ceilings: Limits = CEILINGS


@dataclass(frozen=True, slots=True)
class RetryDecision:
    """Whether and when to try again; `reason` is one sentence for the user, `code` its class.

    `limits` are those of the next attempt where they differ from the last one's. `success` is the
    estimated probability that the next attempt completes, None where nothing was estimated; `basis`
    names what it was estimated from, and travels with the retry so that its end teaches the same.
    """

    retry: bool
    delay_ms: int
    code: ReasonCode
    reason: str
    limits: Limits | None = None
    success: float | None = None
    basis: str = ""


@dataclass(frozen=True, slots=True)
class AttemptObservation:
    """One attempt's end, success or not.

    `basis` is that of the decision which led to this attempt; empty for a first attempt, and where
    nothing was estimated.
    """

    source: Source
    outcome: Outcome
    now_ms: int
    usage: Usage
    limits: Limits = DEFAULT_LIMITS
    limit: str | None = None
    attempt: int = 1
    basis: str = ""


class RetryPolicy(Protocol):
    """Decides about failed attempts."""

    def decide(self, context: FailureContext) -> RetryDecision:
        """Whether this failure is tried again, when and with which limits; takes what it needs."""

    def observe(self, observation: AttemptObservation) -> None:
        """Learns from an attempt's end."""


class ConsideringPolicy(RetryPolicy, Protocol):
    """A policy that can be asked what it would decide, so that it may stand in another's shadow."""

    def consider(self, context: FailureContext) -> RetryDecision:
        """What it would decide now. Takes nothing for it: no budget, no exploration."""
