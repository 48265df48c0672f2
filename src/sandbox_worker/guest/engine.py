"""The one place for the engine's settings; compiler and executor must agree on every one of them.

Fuel is the price and epochs are the deadline; each alone stops a loop. Every proposal that guests
do not need is switched off by name, because the engine's defaults accept most of them.
"""

import hashlib
import platform
from importlib.metadata import version

from wasmtime import Config, Engine

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


def build_engine() -> Engine:
    """An engine with Stockade's settings."""
    config = Config()
    for name, value in _SETTINGS.items():
        setattr(config, name, value)
    return Engine(config)


def engine_fingerprint() -> str:
    """Names all that a compiled artifact depends on: engine version, settings and processor."""
    facts = f"{version('wasmtime')} {sorted(_SETTINGS.items())} {platform.machine()} {_cpu_flags()}"
    return hashlib.sha256(facts.encode()).hexdigest()[:32]


def _cpu_flags() -> str:
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as lines:  # noqa: PTH123 (a lean import)
            return next((line for line in lines if line.startswith(("flags", "Features"))), "")
    except OSError:
        return ""
