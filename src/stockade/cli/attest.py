"""`stockade attest`: say, signed, who built a module out of which source."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stockade.cli.environment import variable
from stockade.cli.options import ModuleFile
from stockade.cli.reporting import reported
from stockade.cli.words import say
from stockade.core.errors import StockadeError

if TYPE_CHECKING:
    from registry.attesting import Build

_Key = Annotated[
    Path,
    typer.Option("--key", "-k", exists=True, dir_okay=False, help="Secret key, Ed25519 in PEM."),
]


@reported
def attest(
    module: ModuleFile,
    *,
    key: _Key,
    repository: Annotated[
        str | None,
        typer.Option(show_default=False, help="The source, as https://example.org/team/app."),
    ] = None,
    commit: Annotated[
        str | None, typer.Option(show_default=False, help="Its commit, in full.")
    ] = None,
    builder: Annotated[
        str | None,
        typer.Option(show_default=False, help="Who built it: a URL that policies can name."),
    ] = None,
    invocation: Annotated[
        str | None, typer.Option(show_default=False, help="The one run that built it, as a URL.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            dir_okay=False,
            help="Default: MODULE with .attestation.json.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Attest a module: an in-toto statement with SLSA provenance, signed, in a DSSE envelope.

    In GitHub Actions and GitLab CI source, commit, builder and run are known; elsewhere they are
    given. The module may be signed or not; the attestation is the same. Upload it with 'stockade
    modules attest'.

    Example: stockade attest hello.wasm --key stockade-key.pem
    """
    from registry.attesting import attest as make  # noqa: PLC0415 - keeps --help fast
    from registry.keys import load_secret_key  # noqa: PLC0415 - likewise

    build = _build(repository, commit, builder, invocation)
    secret = load_secret_key(key.read_bytes())
    target = out or module.with_suffix(".attestation.json")
    target.write_bytes(make(module.read_bytes(), module.name, build, secret))
    say(f"Attested: {target} ({build.builder}, {build.repository}@{build.commit})")


def _build(
    repository: str | None, commit: str | None, builder: str | None, invocation: str | None
) -> "Build":
    """The build, of what was given and, where nothing was, of what the CI service says."""
    from registry.attesting import Build, build_fault  # noqa: PLC0415 - keeps --help fast

    known = _github() or _gitlab() or ("", "", "", "")
    given = (builder, repository, commit, invocation)
    build = Build(*(one or other for one, other in zip(given, known, strict=True)))
    missing = [
        option
        for option, value in (
            ("--builder", build.builder),
            ("--repository", build.repository),
            ("--commit", build.commit),
        )
        if not value
    ]
    if missing:
        raise StockadeError(
            "cli.build_unknown", f"No CI service that we know says so. Give {', '.join(missing)}."
        )
    fault = build_fault(build)
    if fault is not None:
        raise StockadeError("cli.build_invalid", fault)
    return build


def _github() -> tuple[str, str, str, str] | None:
    if variable("GITHUB_ACTIONS") != "true":
        return None
    server = variable("GITHUB_SERVER_URL") or "https://github.com"
    repository = _under(server, "GITHUB_REPOSITORY")
    run = _under(f"{repository}/actions/runs", "GITHUB_RUN_ID")
    attempt = _under(f"{run}/attempts", "GITHUB_RUN_ATTEMPT")
    workflow = _under(server, "GITHUB_WORKFLOW_REF")
    return workflow, repository, variable("GITHUB_SHA") or "", attempt or run


def _gitlab() -> tuple[str, str, str, str] | None:
    if variable("GITLAB_CI") != "true":
        return None
    project = variable("CI_PROJECT_URL") or ""
    runner = _under(f"{project}/-/runners", "CI_RUNNER_ID")
    return runner, project, variable("CI_COMMIT_SHA") or "", variable("CI_JOB_URL") or ""


def _under(place: str, name: str) -> str:
    """The variable's value below a place; empty when the service does not say it."""
    value = variable(name)
    return f"{place}/{value}" if value else ""
