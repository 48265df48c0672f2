"""The installation that the tests of one file share."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.faults.fleet import Fleet
from tests.faults.step_proxy import StepProxy


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    """Valkey and a gateway."""
    made = Fleet(tmp_path_factory.mktemp("fleet"))
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
def alone(fleet: Fleet) -> Iterator[None]:
    """Ends what a test started, so that nothing of it serves the next one."""
    yield
    fleet.end_all_but(1)


@pytest_asyncio.fixture(loop_scope="module")
async def proxy(fleet: Fleet) -> AsyncIterator[tuple[StepProxy, str]]:
    """A proxy before the fleet's Valkey, and the URL to use."""
    made = StepProxy(fleet.valkey.url)
    yield made, await made.start()
    await made.stop()
