"""What ended in the last minutes, bounded."""

from sandbox_worker.recent_runs import MINUTES, OTHERS, RecentRuns
from stockade.core.installation_status import MOST_TOLD, RecentEnds
from stockade.core.outcomes import Outcome


class Time:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_failures_are_those_of_the_run_not_what_the_caller_wanted() -> None:
    recent = RecentRuns(Time())
    for outcome in Outcome:
        recent.ended("acme", outcome)
    assert recent.told() == (RecentEnds("acme", 8, 5),)


def test_what_is_minutes_old_is_forgotten() -> None:
    time = Time()
    recent = RecentRuns(time)
    recent.ended("acme", Outcome.TRAPPED)
    time.seconds = 60.0
    recent.ended("acme", Outcome.COMPLETED)
    assert recent.told() == (RecentEnds("acme", 2, 1),)
    time.seconds = 60.0 * MINUTES
    assert recent.told() == (RecentEnds("acme", 1, 0),)
    time.seconds += 60
    assert recent.told() == ()


def test_however_many_tenants_there_are_few_are_told_and_none_is_lost() -> None:
    recent = RecentRuns(Time())
    for n in range(1000):
        recent.ended(f"t{n}", Outcome.CRASHED)
    recent.ended("t7", Outcome.COMPLETED)
    told = recent.told()
    assert len(told) == MOST_TOLD + 1
    assert told[0] == RecentEnds("t7", 2, 1)
    assert told[-1].tenant == OTHERS
    assert sum(one.ended for one in told) == 1001
    assert sum(one.failed for one in told) == 1000
