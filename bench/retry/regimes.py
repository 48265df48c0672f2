"""The regimes: worlds that differ in why attempts fail (the problem's list, and some beyond it)."""

import random
from collections import Counter
from dataclasses import replace

from bench.retry.world import CEILINGS, End, Job, World, again, completed, failed, stop
from stockade.core.outcomes import Outcome, Usage
from stockade.retry.types import FailureContext, RetryDecision, Source

_TRAP = Outcome.TRAPPED


class Mixed(World):
    """Bugs of some inputs, which always fail, among faults that pass."""

    name = "mixed"
    title = "deterministic bugs mixed with transient faults"

    def job(self, number: int, now_ms: int) -> Job:
        """A sixth of the inputs meets a bug, a sixth a fault; some traps look alike."""
        rng = self.rng
        kind = rng.random()
        fate = {
            "bug": float(kind < 1 / 6),
            "fault": float(1 / 6 <= kind < 1 / 3),
            "fuel": rng.randrange(500_000, 2_000_000),
            "plain": float(rng.random() < 0.5),
        }
        function = f"f{rng.randrange(8)}"
        return Job(number, Source("acme", function, 1), now_ms, fate=fate)

    def attempt(self, job: Job, now_ms: int) -> End:
        """A bug traps after the same fuel; a fault passes with each attempt in seven of ten."""
        del now_ms
        fate, rng = job.fate, self.rng
        cause = "unreachable" if fate["plain"] else "out_of_bounds"
        if fate["bug"]:
            return failed(_TRAP, int(fate["fuel"]), cause=cause)
        if fate["fault"] and rng.random() < 0.7:
            fate["fault"] = 0.0
        if not fate["fault"]:
            return completed(int(fate["fuel"]))
        fuel = int(fate["fuel"] * rng.uniform(0.2, 1))
        if fate["plain"]:
            return failed(_TRAP, fuel, cause="unreachable")
        return failed(Outcome.REJECTED, fuel, retry_hint=True)

    def oracle(self, job: Job, context: FailureContext) -> RetryDecision:
        """Faults pass, bugs do not."""
        del context
        return stop() if job.fate["bug"] else again()


class Outages(World):
    """Two upstreams that go away for heavy-tailed times."""

    name = "outages"
    title = "outages of heavy-tailed length"

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng)
        self.down = {f"http_fetch:u{i}": list(self._outages()) for i in range(2)}

    def _outages(self) -> list[tuple[int, int]]:
        rng, now, made = self.rng, 0.0, []
        while now < self.span_ms + 600_000:
            now += rng.expovariate(1 / 25_000)
            length = min(120_000.0, 800 * rng.paretovariate(1.1))
            made.append((int(now), int(now + length)))
            now += length
        return made

    def _back_ms(self, upstream: str, now_ms: int) -> int:
        """When it is back; now when it is not away."""
        return next((end for begin, end in self.down[upstream] if begin <= now_ms < end), now_ms)

    def job(self, number: int, now_ms: int) -> Job:
        """A call to either upstream."""
        i = self.rng.randrange(2)
        source = Source("acme", f"f{i}", 1, f"http_fetch:u{i}")
        deadline = now_ms + 300_000
        return Job(number, source, now_ms, deadline)

    def attempt(self, job: Job, now_ms: int) -> End:
        """Fails while the upstream is away, and one time in fifty besides."""
        if self._back_ms(job.source.upstream, now_ms) > now_ms or self.rng.random() < 0.02:
            return failed(
                Outcome.REJECTED,
                300_000,
                cause="5xx",
                upstream=job.source.upstream,
                retry_hint=True,
            )
        return completed()

    def oracle(self, job: Job, context: FailureContext) -> RetryDecision:
        """Waits for the end, as far as the longest delay reaches."""
        wait_ms = self._back_ms(job.source.upstream, context.now_ms) - context.now_ms
        left = context.settings.max_attempts - context.attempt
        if wait_ms > left * context.settings.max_delay_ms:
            return stop()
        return again(min(wait_ms, context.settings.max_delay_ms))


class Drift(World):
    """Inputs grow, and with them the need for fuel and memory."""

    name = "drift"
    title = "rising resource need"

    def job(self, number: int, now_ms: int) -> Job:
        """The need grows eightfold over the run, with a tail."""
        grown = 2 ** (3 * number / self.jobs)
        need = 3e8 * grown * self.rng.lognormvariate(0, 0.35)
        fate = {"fuel": need, "memory": 2e7 * grown * self.rng.lognormvariate(0, 0.2)}
        return Job(number, Source("acme", "grow", 1), now_ms, fate=fate, deterministic=True)

    def attempt(self, job: Job, now_ms: int) -> End:
        """Stops at whichever limit comes first."""
        del now_ms
        limits, fate = job.limits, job.fate
        fuel, memory = int(fate["fuel"]), int(fate["memory"])
        if memory > limits.memory_bytes:
            usage = Usage(fuel // 2, limits.memory_bytes, 50)
            return End(Outcome.LIMIT_EXCEEDED, usage, limit="memory")
        if fuel > limits.fuel:
            usage = Usage(limits.fuel, memory, 50)
            return End(Outcome.LIMIT_EXCEEDED, usage, limit="fuel")
        return completed(fuel, memory_bytes=memory)

    def oracle(self, job: Job, context: FailureContext) -> RetryDecision:
        """Gives what is needed, if the ceiling lets it."""
        fuel, memory = int(job.fate["fuel"]) + 1, int(job.fate["memory"]) + 1
        if fuel > CEILINGS.fuel or memory > CEILINGS.memory_bytes:
            return stop()
        limits = replace(
            context.limits,
            fuel=max(fuel, context.limits.fuel),
            memory_bytes=max(memory, context.limits.memory_bytes),
        )
        return again(limits=limits)


class BrownOut(World):
    """A service that fails the more, the more is asked of it."""

    name = "brown-out"
    title = "brown-out where retries add load"
    jobs_per_second = 20.0

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng)
        self._recent: list[int] = []
        self._planned: Counter[int] = Counter()

    def job(self, number: int, now_ms: int) -> Job:
        """All ask the same service."""
        return Job(number, Source("acme", "f", 1, "http_fetch:busy"), now_ms, now_ms + 120_000)

    def _capacity(self, now_ms: int) -> float:
        """Requests a second that it serves; a third of them in the middle of the run."""
        third = self.span_ms / 3
        return 14.0 if third < now_ms < 2 * third else 40.0

    def attempt(self, job: Job, now_ms: int) -> End:
        """Beyond its capacity it fails most, and work on what fails slows it further."""
        recent = [at for at in self._recent if at > now_ms - 1000]
        recent.append(now_ms)
        self._recent = recent
        load = len(recent) / self._capacity(now_ms)
        healthy = 0.99 if load < 1 else max(0.0, 0.99 / load**2)
        if self.rng.random() < healthy:
            return completed()
        return failed(
            Outcome.REJECTED, 300_000, cause="5xx", upstream=job.source.upstream, retry_hint=True
        )

    def oracle(self, job: Job, context: FailureContext) -> RetryDecision:
        """Comes back in the first second after it with room, or as late as may be."""
        del job
        begin, longest = context.now_ms, context.settings.max_delay_ms
        if self.span_ms / 3 < begin < 2 * self.span_ms / 3:
            begin = int(2 * self.span_ms / 3)
        for second in range(begin // 1000 + 1, (context.now_ms + longest) // 1000):
            if self._planned[second] < 14:
                self._planned[second] += 1
                return again(second * 1000 + self.rng.randrange(1000) - context.now_ms)
        return again(longest)


class Small(World):
    """Many small tenants, of whom each has few samples."""

    name = "small tenants"
    title = "many small tenants with few samples"

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng)
        self.kinds = [rng.choice(("bug", "flaky", "flaky", "good")) for _ in range(600)]

    def job(self, number: int, now_ms: int) -> Job:
        """About five invocations of each tenant."""
        i = self.rng.randrange(len(self.kinds))
        fate = {"kind": float(("bug", "flaky", "good").index(self.kinds[i]))}
        return Job(number, Source(f"t{i}", "f", 1), now_ms, fate=fate)

    def attempt(self, job: Job, now_ms: int) -> End:
        """A bug always fails, a flaky one four times in ten, a good one once in fifty."""
        del now_ms
        kind, chance = int(job.fate["kind"]), self.rng.random()
        if kind == 0:
            return failed(_TRAP, 400_000, cause="unreachable")
        if chance < (0.4 if kind == 1 else 0.02):
            return failed(
                Outcome.CRASHED if chance < 0.01 else Outcome.REJECTED,
                int(self.rng.uniform(2e5, 8e5)),
                retry_hint=True,
            )
        return completed()

    def oracle(self, job: Job, context: FailureContext) -> RetryDecision:
        """All but bugs."""
        del context
        return again() if job.fate["kind"] else stop()


class SilentChange(World):
    """What helped stops helping in the middle, and later helps again; as many fail as before."""

    name = "silent change"
    title = "a change that first attempts do not show (not listed)"
    doomed = 0.3

    def job(self, number: int, now_ms: int) -> Job:
        """One function."""
        return Job(number, Source("acme", "f", 1), now_ms, fate={"drawn": 0.0})

    def _bad(self, now_ms: int) -> bool:
        return self.span_ms / 3 < now_ms < 2 * self.span_ms / 3

    def attempt(self, job: Job, now_ms: int) -> End:
        """Three in ten fail; in the bad third for good."""
        if not job.fate["drawn"]:
            job.fate["drawn"] = 1.0
            job.fate["doomed"] = float(self._bad(now_ms) and self.rng.random() < self.doomed)
        if job.fate["doomed"] or self.rng.random() < 0.3 * (not self._bad(now_ms)):
            fuel = int(self.rng.uniform(2e5, 8e5))
            return failed(Outcome.REJECTED, fuel, cause="busy", retry_hint=True)
        return completed()

    def oracle(self, job: Job, context: FailureContext) -> RetryDecision:
        """All but the doomed."""
        del context
        return stop() if job.fate.get("doomed") else again()


class Change(SilentChange):
    """In the middle more fail, and for good."""

    name = "change"
    title = "a sudden change of regime"
    doomed = 0.6


class Adversary(World):
    """A tenant that fails without end beside one whose faults pass."""

    name = "adversary"
    title = "a tenant who tries to burn others' budget"
    jobs_per_second = 40.0

    def job(self, number: int, now_ms: int) -> Job:
        """Three in four are the adversary's."""
        hostile = self.rng.random() < 0.75
        source = Source("mallory" if hostile else "acme", "f", 1)
        return Job(number, source, now_ms, fate={"hostile": float(hostile)})

    def attempt(self, job: Job, now_ms: int) -> End:
        """The adversary's always fail and ask for a retry; the other's pass after a few."""
        del now_ms
        if job.fate["hostile"] or self.rng.random() < 0.3:
            fuel = int(self.rng.uniform(2e5, 8e5))
            return failed(Outcome.REJECTED, fuel, cause="busy", retry_hint=True)
        return completed()

    def oracle(self, job: Job, context: FailureContext) -> RetryDecision:
        """The honest tenant's alone."""
        del context
        return stop() if job.fate["hostile"] else again()


class Flaps(World):
    """A fault that comes and goes within seconds: not in the problem's list."""

    name = "flaps"
    title = "faults that come and go within seconds (not listed)"

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng)
        self.until: list[tuple[int, bool]] = []
        now, bad = 0.0, False
        while now < self.span_ms + 600_000:
            now += rng.expovariate(1 / (1500 if bad else 6000))
            self.until.append((int(now), bad))
            bad = not bad
        self._at = 0

    def _back_ms(self, now_ms: int) -> int:
        for end, bad in self.until:
            if now_ms < end:
                return end if bad else now_ms
        return now_ms

    def job(self, number: int, now_ms: int) -> Job:
        """One function, no upstream known."""
        return Job(number, Source("acme", "f", 1), now_ms, now_ms + 60_000)

    def attempt(self, job: Job, now_ms: int) -> End:
        """Nine in ten fail while it is bad, one in a hundred otherwise."""
        del job
        bad = self._back_ms(now_ms) > now_ms
        if self.rng.random() < (0.9 if bad else 0.01):
            fuel = int(self.rng.uniform(2e5, 8e5))
            return failed(_TRAP, fuel, cause="unreachable")
        return completed()

    def oracle(self, job: Job, context: FailureContext) -> RetryDecision:
        """Waits for the end."""
        del job
        return again(self._back_ms(context.now_ms) - context.now_ms)


class Steady(World):
    """Almost nothing fails: what a policy costs when it is not needed. Not in the list."""

    name = "steady"
    title = "rare independent faults (not listed)"

    def job(self, number: int, now_ms: int) -> Job:
        """One of twenty functions."""
        return Job(number, Source("acme", f"f{self.rng.randrange(20)}", 1), now_ms)

    def attempt(self, job: Job, now_ms: int) -> End:
        """One in twenty fails."""
        del job, now_ms
        if self.rng.random() < 0.05:
            return failed(Outcome.CRASHED, 100_000)
        return completed()

    def oracle(self, job: Job, context: FailureContext) -> RetryDecision:
        """Always again."""
        del job, context
        return again()


REGIMES: tuple[type[World], ...] = (
    Mixed, Outages, Drift, BrownOut, Small, Change, SilentChange, Adversary, Flaps, Steady,
)  # fmt: skip
