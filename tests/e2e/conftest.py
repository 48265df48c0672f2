"""The installation that end-to-end tests share."""

from collections.abc import Iterator

import pytest

from tests.e2e.service import PUBLIC, Service, running_service


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One `stockade dev` for all tests that leave it as it was; it trusts the tests' key."""
    with running_service(tmp_path_factory.mktemp("stockade") / "data") as running:
        trusted = {"name": "tests", "public_key": PUBLIC}
        assert running.http.post("/v1/signers", json=trusted).status_code == 201
        yield running
