"""The exporter of `deploy/ebpf`, which stands in no package."""

import importlib.util
from pathlib import Path

DEPLOYED = Path(__file__).parents[2] / "deploy" / "ebpf"


def _load():  # type: ignore[no-untyped-def] # noqa: ANN202 - a module of its own
    spec = importlib.util.spec_from_file_location("ebpf_exporter", DEPLOYED / "exporter.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


exporter = _load()  # type: ignore[no-untyped-call]
