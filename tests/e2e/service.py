"""A real `stockade dev` for end-to-end tests: real Valkey, gateway, worker and jail."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from registry.keys import generate_secret_key, public_bytes, public_key_pem
from registry.signing import sign

KEY = generate_secret_key()
PUBLIC = public_key_pem(public_bytes(KEY)).decode()


@dataclass(frozen=True, slots=True)
class Service:
    """A running installation and a client with its key."""

    url: str
    data_dir: Path
    process: subprocess.Popen[bytes]
    http: httpx.Client

    def deploy(self, name: str, body: bytes, **settings: object) -> dict[str, object]:
        """Signs, uploads and deploys a guest."""
        answer = self.upload(sign(body, KEY))
        assert answer.status_code in {200, 201}, answer.text
        wanted = {"module": answer.json()["digest"], **settings}
        answer = self.http.put(f"/v1/functions/{name}", json=wanted)
        assert answer.status_code in {200, 201}, answer.text
        shown: dict[str, object] = answer.json()
        return shown

    def upload(self, content: bytes, **headers: str) -> httpx.Response:
        """Uploads these bytes as a module."""
        headers = {"content-type": "application/wasm"} | headers
        return self.http.post("/v1/modules", content=content, headers=headers)

    def invoke(self, name: str, data: bytes = b"", **headers: str) -> httpx.Response:
        """Invokes a function and waits."""
        return self.http.post(f"/v1/functions/{name}/invoke", content=data, headers=headers)


@contextmanager
def running_service(data_dir: Path, *wrapper: str, **environment: str) -> Iterator[Service]:
    """Starts `stockade dev` on this data directory, through a wrapping command, and stops it."""
    command = [*wrapper, sys.executable, "-m", "stockade.cli.main", "dev", "--port", "0"]
    with (
        (data_dir.parent / f"{data_dir.name}.log").open("ab") as log,
        subprocess.Popen(
            [*command, "--data-dir", str(data_dir)],
            stdout=subprocess.PIPE,
            stderr=log,
            env=os.environ | environment,  # noqa: TID251 - a child's
        ) as process,
    ):
        try:
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline())
            key = Path(ready["api_key_file"]).read_text().strip()
            headers = {"Authorization": f"Bearer {key}"}
            with httpx.Client(base_url=ready["url"], headers=headers, timeout=60) as http:
                yield Service(ready["url"], data_dir, process, http)
        finally:
            process.terminate()
            process.wait(60)
