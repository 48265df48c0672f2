"""Runs the command line in this process, against a gateway that is none."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from stockade.cli.connection import Wiring
from stockade.cli.main import app
from tests.unit.sdk_python.fake_gateway import FakeGateway


class CommandLine:
    """`run("invoke", "hello")` as if typed, in an empty directory and a bare environment."""

    def __init__(self, gateway: FakeGateway) -> None:
        self.gateway = gateway
        self._runner = CliRunner()

    def run(self, *words: str, data: bytes | None = None, **env: str) -> Result:
        wiring = Wiring(self.gateway.transport)
        bare = {"STOCKADE_URL": None, "STOCKADE_API_KEY": None, "STOCKADE_API_KEY_FILE": None}
        wide = {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}
        return self._runner.invoke(
            app, list(words), input=data, obj=wiring, env={**bare, **wide, **env}
        )


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    monkeypatch.chdir(tmp_path)
    return CommandLine(FakeGateway())
