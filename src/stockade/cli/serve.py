"""`stockade serve`: one process of a deployment: a gateway, a worker or a recorder.

Its options are made from the settings class of the process, so none is missing and none can mean
something else than its environment variable. The class is loaded when its help or its run is asked
for, not before.
"""

import inspect
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from stockade.cli.parent import die_with as end_with
from stockade.cli.paths import policy_dir
from stockade.cli.reporting import reported
from stockade.cli.serve_help import HELP
from stockade.cli.words import EXIT_REFUSED, fail

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic.fields import FieldInfo
    from pydantic_settings import BaseSettings

_ABOUT = {
    "gateway": "Run a gateway: the HTTP API in front of the queue. SIGTERM drains and stops it.",
    "recorder": "Run a recorder: takes the history down, where gateways shall not.",
    "worker": "Run a worker: takes invocations from the queue and runs them in jailed processes.",
}


class ServeGroup(TyperGroup):
    """Makes each process' command when it is asked for."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """All processes."""
        del ctx
        return list(_ABOUT)

    def get_command(self, ctx: typer.Context, cmd_name: str) -> Any:  # type: ignore[override]  # noqa: ANN401 - Typer's own type is private
        """One process's command, its options made from its settings."""
        del ctx
        if cmd_name not in _ABOUT:
            return None
        single = typer.Typer(add_completion=False)
        single.command(cmd_name, help=_ABOUT[cmd_name])(_command(cmd_name))
        return get_command(single)


app = typer.Typer(
    cls=ServeGroup, no_args_is_help=True, help="Run one process of a deployment, for production."
)


@app.callback()
def _serve() -> None:
    """Run one process of a deployment, for production."""


def settings_class(process: str) -> "type[BaseSettings]":
    """The settings of a process."""
    if process == "gateway":
        from gateway.settings import GatewaySettings  # noqa: PLC0415 - keeps --help fast

        return GatewaySettings
    if process == "recorder":
        from gateway.settings import RecorderSettings  # noqa: PLC0415 - likewise

        return RecorderSettings
    from sandbox_worker.settings import WorkerSettings  # noqa: PLC0415 - likewise

    return WorkerSettings


def _command(process: str) -> Callable[..., None]:
    fields = settings_class(process).model_fields

    @reported
    def run(*, die_with: int | None, **given: str | None) -> None:
        if die_with is not None:
            end_with(die_with, signal.SIGKILL)
        options = {name: value for name, value in given.items() if value is not None}
        if "policy_dir" in fields:
            options.setdefault("policy_dir", str(policy_dir()))
        _start(process, _settings(process, options))

    required_first = sorted(fields.items(), key=lambda item: not item[1].is_required())
    parameters = [_parameter(name, field) for name, field in required_first]
    parameters.append(_die_with_parameter())
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    del run.__wrapped__  # type: ignore[attr-defined]
    return run


def _start(process: str, settings: Any) -> None:  # noqa: ANN401 - one class or the other
    if process == "gateway":
        from gateway import bootstrap as gateway_bootstrap  # noqa: PLC0415 - keeps --help fast

        gateway_bootstrap.run(settings)
    elif process == "recorder":
        from gateway import recorder_bootstrap  # noqa: PLC0415 - likewise

        recorder_bootstrap.run(settings)
    else:
        from sandbox_worker import bootstrap as worker_bootstrap  # noqa: PLC0415 - likewise

        worker_bootstrap.run(settings)


def _settings(process: str, options: dict[str, str]) -> "BaseSettings":
    from pydantic import ValidationError  # noqa: PLC0415 - keeps --help fast

    try:
        make: Callable[..., BaseSettings] = settings_class(process)
        return make(**options)
    except ValidationError as error:
        fail(_wrong(error), "config.invalid", status=EXIT_REFUSED)


def _wrong(error: "ValidationError") -> str:
    """What is wrong, without the values: some are secrets."""
    problems = (
        "".join(f"{_flag(str(name))} ({_variable(str(name))}): " for name in fault["loc"][:1])
        + fault["msg"]
        for fault in error.errors(include_input=False, include_url=False)
    )
    return "These settings are missing or wrong. " + "; ".join(problems) + "."


def _parameter(name: str, field: "FieldInfo") -> inspect.Parameter:
    text = HELP.get(name) or field.description or ""
    if field.is_required() and name != "policy_dir":
        text = f"Required. {text}"
    if not field.is_required() and field.default not in (None, ""):
        text += f" Default: {field.default}."
    option = typer.Option(
        _flag(name),
        envvar=_variable(name),
        help=text,
        metavar=_metavar(field),
        show_default=False,
    )
    return _optional(name, Annotated[str | None, option])


def _die_with_parameter() -> inspect.Parameter:
    option = typer.Option("--die-with", hidden=True)
    return _optional("die_with", Annotated[int | None, option])


def _optional(name: str, annotation: Any) -> inspect.Parameter:  # noqa: ANN401 - any annotation
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
    )


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _variable(name: str) -> str:
    return "STOCKADE_" + name.upper()


def _metavar(field: "FieldInfo") -> str:
    names = {
        "int": "N",
        "float": "N",
        "str": "TEXT",
        "bool": "true|false",
        "Durability": "TEXT",
        "OtlpProtocol": "TEXT",
    }
    return names.get(getattr(field.annotation, "__name__", ""), "PATH")
