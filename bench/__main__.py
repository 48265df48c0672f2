"""`python -m bench`: the speed and cost figures, each against the floor of the same run."""

import argparse
import asyncio
import os
import platform
import statistics
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import (
    arithmetic,
    attacks,
    audit,
    backlog,
    crowd,
    end_to_end,
    fairness,
    floors,
    history,
    observing,
    policy,
    registry,
    replay,
    sandbox,
    storage,
    traces,
    trust,
    versions,
)
from bench.measure import Row, against, p50_ms, p99_ms, table

BODY = b"x" * 1024
LINES = 10_000
VERSIONS = 10_000
BACKLOGS = (1000, 10_000, 100_000, 1_000_000)
REPORT = Path(__file__).parents[1] / "docs" / "performance.md"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


def sandbox_rows() -> list[Row]:
    """What the sandbox costs by itself."""
    naive = statistics.median(floors.naive_run_seconds(BODY, 3000)) * 1e6
    reused = statistics.median(floors.reused_instance_seconds(BODY, 3000)) * 1e6
    warm = statistics.median(sandbox.warm_run_seconds(BODY, 5000)) * 1e6
    mapped = statistics.median(sandbox.warm_run_seconds(BODY, 3000, pooled=False)) * 1e6
    public = statistics.median(sandbox.warm_run_seconds(BODY, 3000, raw=False)) * 1e6
    framed = statistics.median(asyncio.run(sandbox.framed_run_seconds(BODY, 5000))) * 1e6
    floor = "wasmtime-py, public calls"
    return [
        against("warm run inside the executor, p50", warm, "µs", naive, floor),
        against(
            "warm run inside the executor, p50", warm, "µs", reused, "one instance reused, public"
        ),
        Row("the same, runs a second on one processor", f"{1e6 / warm:.0f} /s"),
        against("the same, memory mapped for each run (ADR 8)", mapped, "µs", naive, floor),
        against("the same by the public calls (ADR 7)", public, "µs", naive, floor),
        against("the same through the jail's socket, p50", framed, "µs", naive, floor),
        *asyncio.run(process_rows(framed)),
    ]


def observing_rows() -> list[Row]:
    """What metrics cost."""
    runs = observing.claims(50_000)
    ours = statistics.median(
        observing.run_seconds(observing.warm_run(observing.WorkerMetrics()), runs) for _ in range(3)
    )
    usual = statistics.median(
        observing.run_seconds(observing.PlainCounters().ran, runs) for _ in range(3)
    )
    _, few_seconds = observing.page(1)
    size, seconds = observing.page(observing.TENANTS * observing.FUNCTIONS_OF_EACH)
    what = f"{observing.TENANTS} tenants with {observing.FUNCTIONS_OF_EACH} functions each"
    floor = "the client library's own counters, a series for each function"
    return [
        against("all that a warm run counts for Prometheus", ours * 1e6, "µs", usual * 1e6, floor),
        Row(f"a worker's page of metrics, {what}", f"{size / 1000:.0f} KB"),
        against("writing it", seconds * 1e3, "ms", few_seconds * 1e3, "one function's"),
    ]


def trust_rows() -> list[Row]:
    """What signatures cost."""
    rows = []
    for size_mb in (1, 16):
        verified, hashed = trust.verify_seconds(size_mb * trust.MB, 30)
        speed = size_mb / statistics.median(verified)
        what = f"verify a signed module of {size_mb} MB, p50 ({speed:.0f} MB/s)"
        floor_ms = p50_ms(hashed)
        rows.append(against(what, p50_ms(verified), "ms", floor_ms, "one SHA-256 of it"))
    with TemporaryDirectory() as folder:
        kept, asked, fresh = asyncio.run(trust.check_seconds(Path(folder), 1000))
    kept_us, asked_us = p50_ms(kept) * 1000, p50_ms(asked) * 1000
    what = "trust check before a run, remembered, p50"
    return [
        *rows,
        against(what, kept_us, "µs", asked_us, "asked anew, SQLite"),
        Row("the same on a worker that has nothing", f"{p50_ms(fresh) * 1000:.0f} µs"),
    ]


def audit_rows() -> list[Row]:
    """What the audit log costs."""
    with TemporaryDirectory() as folder:
        writes = asyncio.run(audit.write_seconds(Path(folder), 200))
    plain, one = p50_ms(writes.plain), p50_ms(writes.entry)
    bundled = p50_ms(writes.bundle) / audit.BATCH
    within, without = asyncio.run(audit.request_seconds(30, 1000))
    added_us = (p50_ms(within) - p50_ms(without)) * 1000
    verified, parsed = audit.verify_seconds(10_000, 10)
    speed = 10_000 / statistics.median(verified)
    return [
        against("audit entry, SQLite, p50", one, "ms", plain, "another write"),
        against(f"one of {audit.BATCH} in a bundle", bundled, "ms", one, "one alone"),
        Row("the log around a request that leaves no entry", f"{added_us:.3g} µs"),
        against(
            f"verify 10,000 entries, p50 ({speed:.0f} /s)",
            p50_ms(verified),
            "ms",
            p50_ms(parsed),
            "json.loads and one SHA-256 each",
        ),
    ]


def history_rows() -> list[Row]:
    """What the history costs."""
    with TemporaryDirectory() as folder:
        speeds = asyncio.run(history.record_speeds(f"sqlite:///{folder}/history.db", 20))
    told = asyncio.run(history.telling(10, 300))
    each, silent_us = 1e6 / speeds.plain, p50_ms(told.silent) * 1000
    floor = f"plain inserts of the same rows, {speeds.plain:.0f} /s"
    what, batch = "a run into the history, SQLite", f"batches of {history.AT_ONCE}"
    return [
        against(f"{what}, {batch} ({speeds.store:.0f} /s)", 1e6 / speeds.store, "µs", each, floor),
        against(
            f"{what}, from the stream on ({speeds.recorder:.0f} /s)",
            1e6 / speeds.recorder,
            "µs",
            each,
            floor,
        ),
        against(
            "complete, which tells the history, p50",
            p50_ms(told.told) * 1000,
            "µs",
            silent_us,
            "the same that does not tell",
        ),
        Row("memory of an end that waits for the history", f"{told.entry_bytes:.0f} bytes"),
    ]


def version_rows() -> list[Row]:
    """What many versions of one function cost."""
    with TemporaryDirectory() as folder:
        both = asyncio.run(versions.version_seconds(Path(folder), VERSIONS, 200))
    rows = [
        against(
            f"{what}, {VERSIONS} versions, SQLite, p50",
            p50_ms(many) * 1000,
            "µs",
            p50_ms(few) * 1000,
            f"{versions.PAGE} versions",
        )
        for what, (many, few) in both.items()
    ]
    drawn_us = p50_ms(versions.draw_seconds(20_000)) * 1000
    return [*rows, Row("draw one of an alias's two versions, p50", f"{drawn_us:.2g} µs")]


async def registry_rows() -> list[Row]:
    """What it costs to find out who calls and what to run, on every kind of database."""
    rows = []
    with TemporaryDirectory() as folder:
        async with registry.databases(Path(folder)) as kinds:
            for kind, database in kinds.items():
                steps = await registry.hot_path_seconds(await database("hot"), Path(folder), 500)
                rows += hot_path_rows(kind, steps)
                few, many = await database("few"), await database("many")
                crowded, alone = await registry.crowded_seconds(few, many, 1000)
                what = f"find one of {registry.MANY} functions of {registry.MANY_TENANTS} tenants"
                few_us, floor = p50_ms(alone) * 1000, f"one of {registry.FEW}"
                many_us = p50_ms(crowded) * 1000
                rows.append(against(f"{what}, {kind}, p50", many_us, "µs", few_us, floor))
    return rows


def hot_path_rows(kind: str, steps: registry.Steps) -> list[Row]:
    """Remembered, and asked anew."""
    bare_us, rows = p50_ms(steps["bare"]) * 1000, []
    for name, what in (
        ("resolve", "name to alias to version to verified artifact"),
        ("admit", "key checked, action authorized, alias resolved"),
    ):
        kept_us = p50_ms(steps[f"{name}, remembered"]) * 1000
        asked_us = p50_ms(steps[f"{name}, asked anew"]) * 1000
        rows += [
            Row(f"{what}, remembered, {kind}, p50", f"{kept_us:.3g} µs"),
            against(f"{what}, asked anew, {kind}, p50", asked_us, "µs", bare_us, "SELECT 1"),
        ]
    return rows


def storage_rows() -> list[Row]:
    """What it costs to store, and to upload."""
    rows = []
    for size_mb, rounds in ((1, 40), (16, 8)):
        with TemporaryDirectory() as folder:
            found = storage.run(Path(folder), size_mb * storage.MB, rounds)
        for place in ("directory", "bucket"):
            for step, floor, name in (
                ("put", "plain", "SHA-256, write, fsync"),
                ("get", "read", "read, SHA-256"),
            ):
                taken = p50_ms(found[f"{place} {step}"])
                speed = f"{size_mb / taken * 1000:.0f} MB/s"
                what = f"blob of {size_mb} MB, {place}, {step}, p50 ({speed})"
                rows.append(against(what, taken, "ms", p50_ms(found[floor]), name))
    with TemporaryDirectory() as folder:
        plain = p50_ms(storage.file_seconds(Path(folder), storage.MB, 40))
    with end_to_end.running_service("always") as service:
        data, code, known = storage.upload_seconds(service, 40)
    floor = "SHA-256, write, fsync"
    return [
        *rows,
        against("upload a new module of 1 MB, mostly data, p50", p50_ms(data), "ms", plain, floor),
        against("the same module again, p50", p50_ms(known), "ms", plain, floor),
        against(
            "upload a new module of 1 MB, all code, compiled, p50", p50_ms(code), "ms", plain, floor
        ),
    ]


async def process_rows(framed_us: float) -> list[Row]:
    """What processes cost: forks, first runs, memory."""
    forks, wholes = await sandbox.fresh_process_seconds(BODY, 200)
    memory = await sandbox.idle_megabytes(BODY, 100)
    compiled, cached = await sandbox.cold_start_seconds(100_000, 20)
    whole_us = statistics.median(wholes) * 1e6
    return [
        Row("fork of a jailed executor, p50", f"{p50_ms(forks):.2f} ms"),
        against("isolation level `invocation`, a run", whole_us, "µs", framed_us, "level `tenant`"),
        Row(
            "private memory of an idle executor, 100 tenants", f"{statistics.median(memory):.2f} MB"
        ),
        Row("first run of a 100 KB module, compiled first", f"{p50_ms(compiled):.1f} ms"),
        Row("first run of it from the cache, new executor", f"{p50_ms(cached):.1f} ms"),
    ]


def replay_rows() -> list[Row]:
    """What recording costs, and whether what was run repeats."""
    rows = []
    with TemporaryDirectory() as folder:
        for who, line in (("executor", replay.LOCAL), ("supervisor", replay.BROKERED)):
            cost = asyncio.run(replay.recording_cost(line, Path(folder), 500))
            what = f"recorded run, {replay.CALLS} calls that the {who} answers, p50"
            recorded, plain = p50_ms(cost.recorded) * 1000, p50_ms(cost.plain) * 1000
            floor = f"write and fsync of its {cost.kept_bytes} bytes"
            rows += [
                against(what, recorded, "µs", plain, "the same run, not recorded"),
                against(
                    "its recording sealed and on disk, p50",
                    p50_ms(cost.kept),
                    "ms",
                    p50_ms(cost.written),
                    floor,
                ),
            ]
    equal, total = asyncio.run(replay.equal_examples(5))
    bare, short, longest = asyncio.run(replay.record_bytes((1025, 100, 1024)))
    return [
        *rows,
        Row("replays of all examples, equal in outcome, output and fuel", f"{equal} of {total}"),
        Row("memory of a record that is done, input not kept", f"{bare} bytes"),
        Row("the same, an input of 100 bytes kept", f"{short} bytes"),
        Row("the same, an input of 1 KiB kept", f"{longest} bytes"),
    ]


def attack_rows() -> list[Row]:
    """What hostile guests get beyond their limits, each the worst of five runs."""
    found = asyncio.run(attacks.attack_figures(5))
    wall_ms = attacks.LIMITS.wall_ms
    late = max(found, key=lambda attack: attack.late_ms)
    fat = max(found, key=lambda attack: attack.above_mb)
    return [
        *(
            Row(f"attack: {one.name}, {one.ended}", f"{wall_ms + one.late_ms:.1f} ms of {wall_ms}")
            for one in found
        ),
        Row("latest end after a deadline", f"{late.late_ms:.1f} ms ({late.name})"),
        Row("most memory above a limit", f"{max(0, fat.above_mb):.1f} MB ({fat.name})"),
    ]


def crowd_rows() -> list[Row]:
    """What two hundred hostile guests cost a tenant who only wants to work."""
    alone, beside = asyncio.run(crowd.good_tenant_seconds())
    what = f"good tenant beside {crowd.HOSTILE} hostile guests"
    return [
        against(f"{what}, p50", p50_ms(beside), "ms", p50_ms(alone), "alone"),
        against(f"{what}, p99", p99_ms(beside), "ms", p99_ms(alone), "alone"),
    ]


async def service_rows(fsync: str) -> list[Row]:
    """What a user sees, with this durability of the acknowledgement."""
    with end_to_end.running_service(fsync) as service:
        hop = await floors.stream_hop_seconds(service.redis_url, BODY)
        echo, _ = await floors.http_echo_seconds(BODY, 1, 2000)
        parts = p50_ms(hop) + p50_ms(echo)
        one, one_whole = await end_to_end.invoke_seconds(service, BODY, 1, 2000)
        many, many_whole = await end_to_end.invoke_seconds(service, BODY, 16, 4000)
        most, most_whole = await end_to_end.invoke_seconds(service, BODY, 64, 4000)
        submitted, drained = await end_to_end.drain_seconds(service, BODY)
        lines, all_lines = await end_to_end.batch_seconds(service, LINES)
    floor, label = "stream hop + HTTP echo", f"fsync {fsync}"
    runs = end_to_end.ASYNC_RUNS
    return [
        Row(f"floor: stream hop and back, p50 ({label})", f"{p50_ms(hop):.3g} ms"),
        Row("floor: bare FastAPI echo, p50, 1 client", f"{p50_ms(echo):.3g} ms"),
        against(f"invoke, 1 client, p50 ({label})", p50_ms(one), "ms", p50_ms(hop), "stream hop"),
        against(f"invoke, 1 client, p50 ({label})", p50_ms(one), "ms", parts, floor),
        Row(f"invoke, 1 client, p99 ({label})", f"{p99_ms(one):.3g} ms"),
        Row(f"invoke, 1 client, throughput ({label})", f"{len(one) / one_whole:.0f} /s"),
        Row(f"invoke, 16 clients, p50 ({label})", f"{p50_ms(many):.3g} ms"),
        Row(f"invoke, 16 clients, p99 ({label})", f"{p99_ms(many):.3g} ms"),
        Row(f"invoke, 16 clients, throughput ({label})", f"{len(many) / many_whole:.0f} /s"),
        Row(f"invoke, 64 clients, throughput ({label})", f"{len(most) / most_whole:.0f} /s"),
        Row(f"submit {runs} asynchronously, 16 clients ({label})", f"{runs / submitted:.0f} /s"),
        Row(f"the same until all are done ({label})", f"{runs / drained:.0f} /s"),
        Row(f"submit {LINES} lines in one batch ({label})", f"{LINES / lines:.0f} /s"),
        Row(f"the same until all are done ({label})", f"{LINES / all_lines:.0f} /s"),
    ]


async def queue_rows() -> list[Row]:
    """What the queue does by itself: fairness, and what waiting costs."""
    flooded = f"wait of nine small tenants beside a flood of {fairness.FLOOD}"
    alone, beside = await fairness.wait_seconds(0), await fairness.wait_seconds(fairness.FLOOD)
    equal = await fairness.service_counts([1] * 10, 4000)
    shared = await fairness.service_counts([1, 2, 4], 4000)
    waiting = await backlog.bytes_of_waiting(100_000)
    taken = await backlog.takeover_seconds()
    costs = [(size, p50_ms(times)) async for size, times in backlog.seconds_by_backlog(BACKLOGS)]
    return [
        against(f"{flooded}, p50", p50_ms(beside), "ms", p50_ms(alone), "alone"),
        against(f"{flooded}, p99", p99_ms(beside), "ms", p99_ms(alone), "alone"),
        Row(
            "Jain index of service, ten tenants of equal weight",
            f"{fairness.jain_index(equal):.6f}",
        ),
        Row("error of shares, weights 1:2:4", f"{fairness.share_error(shared, [1, 2, 4]):.2%}"),
        Row("memory of one waiting invocation of 1 KB", f"{waiting:.0f} bytes"),
        Row("takeover of 16 claims after kill -9, lease 15 s", f"{taken:.1f} s"),
        *(
            against(f"submit to complete while {size} wait", cost, "ms", costs[0][1], "fewest wait")
            for size, cost in costs
        ),
    ]


async def arithmetic_rows() -> list[Row]:
    """What one invocation asks of the queue's server; `docs/scaling.md` reckons with it."""
    with end_to_end.running_service("always") as service:
        asked = await arithmetic.asked_of_the_server(service, BODY)
    of = "for one invocation, 1 KB in and out"
    return [
        Row(f"commands sent to Valkey {of}", f"{asked.commands:.1f}"),
        Row(f"commands inside its scripts {of}", f"{asked.inner_commands:.1f}"),
        Row(f"Valkey's time in commands {of}", f"{asked.server_us:.0f} µs"),
        Row(f"bytes to Valkey {of}", f"{asked.in_bytes:.0f}"),
        Row(f"bytes from Valkey {of}", f"{asked.out_bytes:.0f}"),
        Row(f"bytes of the append-only file {of}", f"{asked.file_bytes:.0f}"),
        Row("memory of a record that is done", f"{asked.record_bytes:.0f} bytes"),
    ]


def policy_rows() -> list[Row]:
    """What it costs to ask the policies, and to read them."""
    cost = policy.costs()
    rows = [
        against("decision that is remembered", cost.remembered, "µs", cost.look_up, "dict look-up")
    ]
    for count, asked in cost.asked.items():
        what, floor = f"decision asked anew, policies: {count}", "cedarpy, all parsed before"
        rows.append(against(what, asked, "µs", cost.bare[count], floor))
    rows.append(
        against(
            "decision on a deploy, shipped policies", cost.deploy, "µs", cost.bare[1], "cedarpy"
        )
    )
    for count, read in cost.read.items():
        what, floor = f"policies read and validated: {count}", "cedarpy, parsed only"
        rows.append(against(what, read / 1000, "ms", cost.parsed[count] / 1000, floor))
    return rows


def main() -> None:
    """Measures, prints the table, and with `--write` puts it into the report."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"write the table into {REPORT.name}")
    options = parser.parse_args()
    rows = (
        policy_rows()
        + trust_rows()
        + audit_rows()
        + observing_rows()
        + history_rows()
        + version_rows()
        + asyncio.run(registry_rows())
        + storage_rows()
        + sandbox_rows()
        + replay_rows()
        + attack_rows()
        + crowd_rows()
        + traces.trace_rows(BODY)
    )
    for fsync in ("always", "everysec"):
        rows += asyncio.run(service_rows(fsync))
    rows += asyncio.run(queue_rows())
    rows += asyncio.run(arithmetic_rows())
    text = table(rows)
    print(text)
    if options.write:
        write_report(f"{machine()}\n\n{text}")


def machine() -> str:
    """One line on where the figures were taken."""
    return f"Python {platform.python_version()}, {os.cpu_count()} processors, {platform.machine()}."


def write_report(text: str) -> None:
    """Replaces the figures between the report's marks."""
    report = REPORT.read_text(encoding="utf-8")
    head, rest = report.split(BEGIN)
    tail = rest.split(END)[1]
    REPORT.write_text(f"{head}{BEGIN}\n{text}\n{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()
