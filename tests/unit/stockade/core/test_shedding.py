import pytest

from stockade.core.invocations import Priority
from stockade.core.shedding import Shedding


def bounds(shedding: Shedding, partitions: int = 1) -> list[int]:
    order = (Priority.LOW, Priority.NORMAL, Priority.HIGH, Priority.URGENT)
    return [shedding.bound(priority, partitions) for priority in order]


@pytest.mark.parametrize(
    ("shedding", "partitions", "expected"),
    [
        (Shedding(), 1, [500_000, 750_000, 900_000, 1_000_000]),
        (Shedding(), 16, [31_250, 46_875, 56_250, 62_500]),
        (Shedding(10, 0.19, 0.55, 0.99), 1, [1, 5, 9, 10]),
        (Shedding(1), 1, [1, 1, 1, 1]),
    ],
)
def test_each_priority_has_its_bound(
    shedding: Shedding, partitions: int, expected: list[int]
) -> None:
    assert bounds(shedding, partitions) == expected


def test_a_tenant_of_whom_few_wait_is_not_refused_before_the_last_fraction() -> None:
    shedding = Shedding(100, 0.1, 0.2, 0.3)
    assert [shedding.bound_of_few(priority) for priority in Priority] == [100, 30, 30, 30]
