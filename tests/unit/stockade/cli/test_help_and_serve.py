import subprocess
import sys

import pytest

from gateway.settings import GatewaySettings, RecorderSettings
from sandbox_worker.settings import WorkerSettings
from stockade.cli.words import safe, write_output
from tests.unit.stockade.cli.conftest import CommandLine

COMMANDS = [
    "",
    "demo",
    "replay",
    "dev",
    "doctor",
    "serve",
    "keys",
    "keys generate",
    "keys list",
    "keys create",
    "tenants",
    "tenants add",
    "tenants key",
    "tenants list",
    "keys rotate",
    "keys revoke",
    "keys exchange",
    "sign",
    "attest",
    "audit",
    "audit list",
    "audit export",
    "audit verify",
    "signers",
    "signers add",
    "signers list",
    "signers show",
    "signers rotate",
    "signers revoke",
    "modules",
    "modules push",
    "modules from-oci",
    "modules to-oci",
    "modules show",
    "modules attest",
    "modules attestations",
    "functions",
    "functions deploy",
    "functions list",
    "functions show",
    "functions alias",
    "functions trust",
    "invoke",
    "schedules",
    "schedules set",
    "schedules list",
    "schedules show",
    "schedules pause",
    "schedules resume",
    "schedules delete",
    "runs",
    "runs list",
    "runs export",
    "runs show",
    "usage",
    "serve recorder",
    "runs result",
    "runs logs",
    "runs cancel",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(cli: CommandLine, command: str) -> None:
    result = cli.run(*command.split(), "--help")
    assert result.exit_code == 0
    assert "Usage: stockade" in result.stdout.replace("Usage: root", "Usage: stockade")


def test_help_loads_nothing_heavy() -> None:
    program = (
        "import sys; from stockade.cli import main\n"
        "try: main.app(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'httpx', 'pydantic', 'fastapi', 'cryptography', 'sqlalchemy', 'structlog'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or None)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("process", "settings"),
    [("gateway", GatewaySettings), ("recorder", RecorderSettings), ("worker", WorkerSettings)],
)
def test_serve_has_an_option_with_help_for_each_setting(
    cli: CommandLine,
    process: str,
    settings: type[GatewaySettings | RecorderSettings | WorkerSettings],
) -> None:
    shown = " ".join(cli.run("serve", process, "--help").stdout.split())
    for name in settings.model_fields:
        option = f"--{name.replace('_', '-')} "
        assert option in shown
        after = shown.split(option, 1)[1].split("env var:")[0].split()
        assert len(after) > 3, f"{option} has no help"
        assert f"STOCKADE_{name.upper()}" in shown
    assert "--die-with" not in shown


def test_serve_tells_what_is_missing_and_no_value(cli: CommandLine) -> None:
    result = cli.run("serve", "worker", "--capacity", "s3cret", "--redis-url", "redis://:pw@h")
    assert result.exit_code == 2
    assert "--database-url (STOCKADE_DATABASE_URL): Field required" in result.stderr
    assert "--capacity" in result.stderr
    assert "s3cret" not in result.stderr
    assert "pw" not in result.stderr


def test_serve_knows_no_other_process(cli: CommandLine) -> None:
    assert cli.run("serve", "teapot").exit_code == 2


def test_safe_shows_what_would_act() -> None:
    assert safe("a\x1b[2J\r\n\x9b\u202e\u2028\0b") == r"a\x1b[2J\r\n\x9b\u202e\u2028\x00b"
    assert safe("tab\tand\nline", keep="\n\t") == "tab\tand\nline"
    assert safe("Grüße, 世界 🙂") == "Grüße, 世界 🙂"


def test_output_on_a_terminal_is_made_safe(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    write_output(b"line\n\x1b[2J\xff")
    assert capsys.readouterr().out == "line\n\\x1b[2J\ufffd\n"
