"""The sandbox that tests of attacks share."""

from collections.abc import AsyncIterator

import pytest

from tests.security.sandbox import Sandbox, sandbox_of


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """A worker's sandbox of its own."""
    async with sandbox_of() as made:
        yield made
