"""The sandbox that tests of attacks share."""

from collections.abc import AsyncIterator

import pytest

from tests.security.sandbox import Sandbox, sandbox_of


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """A worker's sandbox of its own."""
    async with sandbox_of() as made:
        yield made


def pytest_addoption(parser: pytest.Parser) -> None:
    """Lets a longer search through mutated modules be asked for."""
    parser.addoption("--mutations", type=int, default=4000, help="how many mutants to try")
