"""The one place for the engine's settings; compiler and executor must agree on every one of them.

Fuel is the price and epochs are the deadline; each alone stops a loop. Every proposal that guests
do not need is switched off by name, because the engine's defaults accept most of them.
"""

import hashlib
import platform
from importlib.metadata import version

from wasmtime import Config, Engine, _ffi

from sandbox_worker.guest.machine import MAX_TABLES
from stockade.core.limits import HARD_CEILINGS

MAX_WASM_STACK_BYTES = 512 * 1024

_SETTINGS: dict[str, object] = {
    "consume_fuel": True,
    "epoch_interruption": True,
    "cranelift_nan_canonicalization": True,
    "cranelift_opt_level": "speed",
    # Threads would not survive the zygote's fork, and the jail allows none.
    "parallel_compilation": False,
    "max_wasm_stack": MAX_WASM_STACK_BYTES,
    "memory_init_cow": True,
    "wasm_bulk_memory": True,
    "wasm_multi_value": True,
    "wasm_reference_types": True,
    "wasm_simd": True,
    "wasm_relaxed_simd": False,
    "wasm_relaxed_simd_deterministic": True,
    "wasm_tail_call": False,
    "wasm_threads": False,
    "shared_memory": False,
    "wasm_multi_memory": False,
    "wasm_memory64": False,
    "wasm_exceptions": False,
    "wasm_function_references": False,
    "wasm_gc": False,
    "gc_support": False,
    "wasm_wide_arithmetic": False,
    "wasm_custom_page_sizes": False,
    "wasm_stack_switching": False,
    "wasm_component_model": False,
}

_POOL: dict[str, int] = {
    "total_core_instances": 1,
    "total_memories": 1,
    "total_tables": MAX_TABLES,
    "total_stacks": 0,
    "total_gc_heaps": 0,
    "total_component_instances": 0,
    "max_memories_per_module": 1,
    "max_tables_per_module": MAX_TABLES,
    # What may grow to more than a run allows is the run's to refuse, not the compiler's.
    "max_memory_size": 1 << 32,
    "table_elements": HARD_CEILINGS.table_elements,
    "max_core_instance_size": 4 * 1024 * 1024,
    # A slot's pages go back to the kernel after every run: nothing is cleared by hand, and nothing
    # of one run is ever mapped in the next.
    "linear_memory_keep_resident": 0,
    "table_keep_resident": 0,
}


def build_engine(*, pooled: bool = True) -> Engine:
    """An engine with Stockade's settings.

    Args:
        pooled: Whether the one instance lives in a slot that is kept (see ADR 8). Where the
            bindings cannot set it, memory is mapped for every run.
    """
    config = Config()
    for name, value in _SETTINGS.items():
        setattr(config, name, value)
    if pooled and hasattr(_ffi, "wasmtime_pooling_allocation_strategy_set"):
        _use_pool(config)
    return Engine(config)


def _use_pool(config: Config) -> None:
    pool = _ffi.wasmtime_pooling_allocation_config_new()
    for name, value in _POOL.items():
        getattr(_ffi, f"wasmtime_pooling_allocation_config_{name}_set")(pool, value)
    _ffi.wasmtime_pooling_allocation_strategy_set(config.ptr(), pool)
    _ffi.wasmtime_pooling_allocation_config_delete(pool)


def engine_fingerprint() -> str:
    """Names all that a compiled artifact depends on: engine version, settings and processor.

    Four parts: `wasmtime-VERSION-SETTINGS-MACHINE-MODEL`, the settings and the processor's model as
    digests. See `engine_of`.
    """
    settings = _digest(str(sorted((_SETTINGS | _POOL).items())))
    return f"wasmtime-{version('wasmtime')}-{settings}-{platform.machine()}-{_digest(_cpu_flags())}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _cpu_flags() -> str:
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as lines:  # noqa: PTH123 (a lean import)
            return next((line for line in lines if line.startswith(("flags", "Features"))), "")
    except OSError:
        return ""
