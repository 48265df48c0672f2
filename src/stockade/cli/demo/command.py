"""`stockade demo`: every example, signed, uploaded, run and checked, on a gateway of its own."""

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stockade.cli.paths import examples_dir
from stockade.cli.reporting import client_errors_in_words, reported
from stockade.cli.words import EXIT_PLATFORM, say

if TYPE_CHECKING:
    from stockade.cli.audit_check import Report
    from stockade.cli.demo.examples import Example
    from stockade.cli.demo.tour import Finding, Refusal

_Examples = Annotated[
    Path | None,
    typer.Option(
        exists=True,
        file_okay=False,
        help="Directory of the examples; those of the checkout when left out.",
        show_default=False,
    ),
]


@reported
def demo(*, examples: _Examples = None) -> None:
    """See it work: start Stockade on a temporary directory, run every example, stop.

    Signs the examples with a new key, uploads, deploys and invokes them, and compares outputs. One
    of them is hostile and must be stopped; uploads that are unsigned, tampered with or signed by a
    revoked key must be refused, and the audit log of it all must be whole. The exit code is not 0
    when anything is not as it should be.
    """
    from stockade.cli.demo.examples import load_examples  # noqa: PLC0415 - keeps --help fast

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    found = load_examples(examples or examples_dir())
    with client_errors_in_words("the demo's own gateway"):
        findings, refusals, log = _tour(found)
    _show(findings, refusals, log)


def _tour(examples: "list[Example]") -> "tuple[list[Finding], list[Refusal], Report]":
    from stockade.cli.demo.own_gateway import own_gateway  # noqa: PLC0415 - keeps --help fast
    from stockade.cli.demo.tour import Tour  # noqa: PLC0415 - likewise

    say("Starting Valkey, a gateway and a worker …")
    findings = []
    with own_gateway() as client:
        tour = Tour(client)
        for number, example in enumerate(examples, start=1):
            say(f"[{number}/{len(examples)}] {example.name}: {example.description}")
            findings.append(tour.show(example))
        say("Offering uploads that must be refused …")
        refusals = tour.offer_bad_uploads(examples[0])
        log = tour.check_audit_log()
        say("Stopping …")
    return findings, refusals, log


def _show(findings: "list[Finding]", refusals: "list[Refusal]", log: "Report") -> None:
    from stockade.cli.demo.table import (  # noqa: PLC0415 - keeps --help fast
        console,
        refusals_table,
        runs_table,
    )

    screen = console()
    screen.print(runs_table(findings))
    screen.print(refusals_table(refusals))
    wrong = [finding.example.name for finding in findings if finding.problem]
    wrong += [refusal.what for refusal in refusals if not refusal.right]
    wrong += [f"audit log, {log.fault}"] if log.fault else []
    if wrong:
        say(f"Not as expected: {', '.join(wrong)}.")
        raise typer.Exit(EXIT_PLATFORM)
    say(f"The audit log is whole: {log.found.entries} entries in a chain, its head signed.")
    say("Everything is as expected.")
