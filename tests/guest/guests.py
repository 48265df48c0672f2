"""Small guests in the text format, for tests of the sandbox."""

from wasmtime import wat2wasm

ALLOC = '(func (export "stockade_v1_alloc") (param i32) (result i32) (i32.const 1024))'
RUN = '(func (export "stockade_v1_run") (param i32 i32) (result i64)'
LOG = '(import "stockade:v1" "log" (func $log (param i32 i32 i32)))'


def module(
    run: str, *, alloc: str = ALLOC, imports: str = "", extra: str = "", memory: str = "2"
) -> bytes:
    """A stockade:v1 guest whose run has this body."""
    text = f"""(module {imports} (memory (export "memory") {memory}) {extra} {alloc}
      {RUN} {run}))"""
    return bytes(wat2wasm(text))


def answer(pointer: str, length: str) -> str:
    """Packs a response frame's place."""
    return (
        f"(i64.or (i64.shl (i64.extend_i32_u {pointer}) (i64.const 32))"
        f" (i64.extend_i32_u {length}))"
    )


def fixed(frame: bytes, **options: str) -> bytes:
    """A guest that answers with these bytes, whatever its input."""
    text = "".join(f"\\{byte:02x}" for byte in frame)
    data = f'(data (i32.const 2048) "{text}")'
    body = answer("(i32.const 2048)", f"(i32.const {len(frame)})")
    return module(body, extra=data + options.pop("extra", ""), **options)


ECHO = module(
    "(i32.store8 (i32.const 1023) (i32.const 0))"
    + answer("(i32.const 1023)", "(i32.add (local.get 1) (i32.const 1))"),
    alloc="""(func (export "stockade_v1_alloc") (param i32) (result i32)
      (drop (memory.grow (i32.div_u (local.get 0) (i32.const 65536)))) (i32.const 1024))""",
)
LOOP = module("(loop br 0) (unreachable)")
LOOP_IN_START = module("(unreachable)", extra="(func $s (loop br 0)) (start $s)")
LOOP_IN_ALLOC = module(
    "(unreachable)",
    alloc="""(func (export "stockade_v1_alloc") (param i32) (result i32)
    (loop br 0) (unreachable))""",
)
TRAP = module("(unreachable)")
TRAP_IN_START = module("(unreachable)", extra="(func $s unreachable) (start $s)")
RECURSE = module("(call $r) (unreachable)", extra="(func $r (call $r) (call $r))")
MEMORY_BOMB = module(
    "(loop (br_if 0 (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) (unreachable)"
)
HUGE_MEMORY = module("(unreachable)", memory="60000")
LONG_FILL = module(
    "(loop (memory.fill (i32.const 0) (i32.const 1) (i32.const 67108864)) (br 0)) (unreachable)",
    memory="1024",
)
TABLE_BOMB = module(
    """(loop (br_if 0 (i32.ne (table.grow 0 (ref.null func) (i32.const 1000)) (i32.const -1))))
    (unreachable)""",
    extra="(table 1 funcref)",
)
LOG_FLOOD = module(
    "(loop (call $log (i32.const 2) (i32.const 0) (i32.const 1000)) (br 0)) (unreachable)",
    imports=LOG,
)

_WASI = """(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_accept" (func $sock (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $envs (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $env (param i32 i32) (result i32)))
  (memory (export "memory") 4)
  (data (i32.const 0) "\\00\\04\\00\\00\\00\\04\\00\\00")
  %s
  (func (export "_start") %s))"""


def command(start: str, extra: str = "") -> bytes:
    """A WASI command; an iovec over 1 KiB at 1024 stands at address 0, a result word fits at 16."""
    return bytes(wat2wasm(_WASI % (extra, start)))


CAT = command(
    """(loop
      (i32.store (i32.const 4) (i32.const 1024))
      (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 16)))
      (if (i32.load (i32.const 16)) (then
        (i32.store (i32.const 4) (i32.load (i32.const 16)))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))
        (br 1))))"""
)
STDOUT_FLOOD = command(
    "(loop (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16))) (br 0))"
)
STDERR_FLOOD = command(
    "(loop (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 16))) (br 0))"
)
EXIT_3 = command("(call $exit (i32.const 3))")
CALLS_EVERYTHING = bytes(
    wat2wasm("""(module
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $as (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $a (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_res_get" (func $cr (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $ct (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $r (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sched_yield" (func $y (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $c (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_fdstat_get" (func $fs (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_filestat_get" (func $ff (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_seek" (func $s (param i32 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $w (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $p (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (global $at (mut i32) (i32.const 1024))
  (func $say (param i32)
    (i32.store8 (global.get $at) (local.get 0))
    (global.set $at (i32.add (global.get $at) (i32.const 1))))
  (func (export "_start")
    (call $say (call $as (i32.const 64) (i32.const 68)))
    (call $say (call $a (i32.const 64) (i32.const 80)))
    (call $say (call $cr (i32.const 1) (i32.const 64)))
    (call $say (call $cr (i32.const 9) (i32.const 64)))
    (call $say (call $ct (i32.const 0) (i64.const 0) (i32.const 64)))
    (call $say (call $ct (i32.const 9) (i64.const 0) (i32.const 64)))
    (call $say (call $r (i32.const 64) (i32.const 16)))
    (call $say (call $r (i32.const 64) (i32.const -1)))
    (call $say (call $y))
    (call $say (call $c (i32.const 2)))
    (call $say (call $c (i32.const 3)))
    (call $say (call $fs (i32.const 1) (i32.const 64)))
    (call $say (call $fs (i32.const 3) (i32.const 64)))
    (call $say (call $ff (i32.const 0) (i32.const 64)))
    (call $say (call $ff (i32.const 7) (i32.const 64)))
    (call $say (call $s (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 64)))
    (call $say (call $read (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 64)))
    (call $say (call $w (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 64)))
    (call $say (call $p (i32.const 200) (i32.const 400) (i32.const 0) (i32.const 64)))
    (i32.store8 (i32.const 208) (i32.const 1))
    (call $say (call $p (i32.const 200) (i32.const 400) (i32.const 1) (i32.const 64)))
    (i32.store8 (i32.const 208) (i32.const 0))
    (i32.store8 (i32.const 216) (i32.const 1))
    (i32.store16 (i32.const 240) (i32.const 1))
    (call $say (call $p (i32.const 200) (i32.const 400) (i32.const 1) (i32.const 64)))
    (i32.store (i32.const 0) (i32.const 1024))
    (i32.store (i32.const 4) (i32.sub (global.get $at) (i32.const 1024)))
    (drop (call $w (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 64)))
    (drop (call $w (i32.const 1) (i32.const 0) (i32.const 2000) (i32.const 64)))))""")
)
SLEEP = command(
    """(i32.store (i32.const 116) (i32.const 1))
    (i64.store (i32.const 124) (i64.const 60000000000))
    (drop (call $poll (i32.const 100) (i32.const 200) (i32.const 1) (i32.const 16)))"""
)
ASKS_FOR_FILES = command(
    """(i32.store (i32.const 1024) (i32.add (i32.const 48) (i32.eq (i32.const 76)
      (call $open (i32.const 3) (i32.const 0) (i32.const 64) (i32.const 4) (i32.const 0)
        (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 16)))))
    (i32.store (i32.const 1025) (i32.add (i32.const 48) (i32.eq (i32.const 76)
      (call $sock (i32.const 3) (i32.const 0) (i32.const 16)))))
    (i32.store (i32.const 4) (i32.const 2))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))"""
)
PRINTS_ENVIRONMENT = command(
    """(drop (call $envs (i32.const 24) (i32.const 28)))
    (drop (call $env (i32.const 4096) (i32.const 1024)))
    (i32.store (i32.const 4) (i32.load (i32.const 28)))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))"""
)
