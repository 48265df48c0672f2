"""One gateway over memory for each test."""

from collections.abc import AsyncIterator

import pytest

from tests.unit.gateway.installation import Installation, installed


@pytest.fixture
async def gateway() -> AsyncIterator[Installation]:
    async with installed() as running:
        yield running
