"""What a guest may import: each host function by name and type. Anything else is refused.

The registry admits modules by these tables, and executors define the functions from them.

Types read `parameters>results`, `i` for i32 and `l` for i64. WASI's are those of the preview 1 witx
definition, lowered as its ABI says.
"""

STOCKADE_MODULE, WASI_MODULE = "stockade:v1", "wasi_snapshot_preview1"

OFFERED = {
    "log": "iii>", "config_get": "ii>l", "secret_get": "ii>l", "kv_get": "ii>l",
    "kv_set": "iiiii>l", "kv_delete": "ii>l", "kv_add": "iil>l", "http_fetch": "ii>l",
    "now_ms": ">l", "random": "ii>", "emit": "iiii>", "progress": "iii>",
    "span_open": "ii>i", "span_close": "i>", "span_attribute": "iiiii>",
}  # fmt: skip
"""The host calls of `stockade:v1`; what each does stands in `sdk/abi/ABI.md`."""

WASI = {
    "args_get": "ii>i", "args_sizes_get": "ii>i", "environ_get": "ii>i",
    "environ_sizes_get": "ii>i", "clock_res_get": "ii>i", "clock_time_get": "ili>i",
    "fd_advise": "illi>i", "fd_allocate": "ill>i", "fd_close": "i>i", "fd_datasync": "i>i",
    "fd_fdstat_get": "ii>i", "fd_fdstat_set_flags": "ii>i", "fd_fdstat_set_rights": "ill>i",
    "fd_filestat_get": "ii>i", "fd_filestat_set_size": "il>i", "fd_filestat_set_times": "illi>i",
    "fd_pread": "iiili>i", "fd_prestat_get": "ii>i", "fd_prestat_dir_name": "iii>i",
    "fd_pwrite": "iiili>i", "fd_read": "iiii>i", "fd_readdir": "iiili>i", "fd_renumber": "ii>i",
    "fd_seek": "ilii>i", "fd_sync": "i>i", "fd_tell": "ii>i", "fd_write": "iiii>i",
    "path_create_directory": "iii>i", "path_filestat_get": "iiiii>i",
    "path_filestat_set_times": "iiiilli>i", "path_link": "iiiiiii>i", "path_open": "iiiiillii>i",
    "path_readlink": "iiiiii>i",
    "path_remove_directory": "iii>i", "path_rename": "iiiiii>i",
    "path_symlink": "iiiii>i", "path_unlink_file": "iii>i", "poll_oneoff": "iiii>i",
    "proc_exit": "i>", "proc_raise": "i>i", "random_get": "ii>i", "sched_yield": ">i",
    "sock_accept": "iii>i", "sock_recv": "iiiiii>i", "sock_send": "iiiii>i",
    "sock_shutdown": "ii>i",
}  # fmt: skip
"""All of preview 1; calls on files and sockets can be imported and answer that there are none."""

VARYING = frozenset({
    "clock_res_get", "clock_time_get", "poll_oneoff", "random_get",
    "now_ms", "random", "http_fetch", "secret_get", "kv_get", "kv_set", "kv_delete", "kv_add",
})  # fmt: skip
"""Calls whose answers vary: a module that imports one is not deterministic."""
