"""An upload is compiled ahead by the worker, so that its first run finds it."""

import time

from registry.signing import sign
from tests.e2e.service import KEY, Service
from tests.guest import guests


def test_an_upload_is_compiled_before_its_first_run(service: Service) -> None:
    body = guests.module("(i64.const 77) (drop) (unreachable)")
    digest = service.upload(sign(body, KEY)).json()["digest"]
    artifacts = service.data_dir / "cache" / "artifacts"
    give_up = time.monotonic() + 30
    while not list(artifacts.glob(f"*/{digest.removeprefix('sha256:')}")):
        assert time.monotonic() < give_up, "nobody compiled it"
        time.sleep(0.05)
