"""`stockade status`: how the installation stands, at a look."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from stockade.cli.connection import connected
from stockade.cli.options import JsonFlag
from stockade.cli.words import print_facts, print_json, print_table, say

if TYPE_CHECKING:
    from stockade_client import Client, InstallationStatus
    from stockade_client.status import RunningFunction, WorkerStatus

_SHOWN = 20


@connected
def status(client: "Client", *, as_json: JsonFlag = False) -> None:
    """Show what waits, what runs, how much failed of late, and which workers live.

    The operator's admins see the whole installation (STOCKADE_OPERATOR_TENANT of the gateway),
    everybody else their own tenant.
    """
    found = client.status()
    if as_json:
        print_json(asdict(found))
        return
    print_facts(_facts(found))
    _print_running(found.running)
    if found.workers:
        typer.echo()
        head = ("WORKER", "RELEASE", "STATE", "RUNS", "UP", "WHAT IS NOT WELL")
        print_table(head, map(_row, found.workers))
    if not found.working:
        say("No worker works: what is submitted waits.")


def _facts(found: "InstallationStatus") -> dict[str, object]:
    queue, recent = found.queue, found.recent
    whole = found.scope == "installation"
    rate = "" if recent.error_rate is None else f" ({recent.error_rate:.1%})"
    return {
        "seen": "the installation" if whole else "your tenant",
        "release": found.version,
        "backlog": queue.backlog,
        "for later": queue.later,
        "oldest wait": f"{queue.oldest_wait_ms / 1000:.1f} s",
        "ready": queue.ready if whole else None,
        "in flight": f"{queue.in_flight} of {found.capacity}" if whole else None,
        "failed": f"{recent.failed} of {recent.ended}{rate} in the last {recent.minutes} minutes",
        "reclaimed": f"{queue.reclaimed}, quarantined {queue.quarantined}" if whole else None,
        "stale policies": ", ".join(found.stale) or None,
        "weak walls": ", ".join(found.weak_walls) or None,
    }


def _print_running(running: "tuple[RunningFunction, ...]") -> None:
    if running:
        typer.echo()
        rows = [(one.tenant, one.function, one.count) for one in running[:_SHOWN]]
        print_table(("TENANT", "FUNCTION", "RUNNING"), rows)
    if len(running) > _SHOWN:
        say(f"{len(running) - _SHOWN} more functions run.")


def _row(worker: "WorkerStatus") -> tuple[object, ...]:
    runs = sum(one.count for one in worker.running)
    unwell = [f"stale {files}" for files in worker.stale]
    unwell += [f"weak {wall}" for wall in worker.weak_walls]
    place = f"{runs}/{worker.capacity}"
    up = f"{worker.uptime_seconds} s"
    return worker.name, worker.version, worker.state, place, up, ", ".join(unwell)
