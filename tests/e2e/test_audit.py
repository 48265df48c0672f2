"""A running installation: tenant and operator verify its audit log; a module is attested."""

import json
import subprocess
import sys
from pathlib import Path

import httpx

from registry.attesting import Build, attest
from registry.signing import sign
from tests.e2e.service import KEY, Service
from tests.guest import guests

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def stockade(service: Service, *words: str) -> subprocess.CompletedProcess[str]:
    key_file = service.data_dir.parent / "tenant-key"
    key_file.write_text(service.http.headers["authorization"].partition(" ")[2])
    command = [sys.executable, "-P", "-m", "stockade.cli.main", *words]
    command += ["--url", service.url, "--api-key-file", str(key_file)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_log_is_verified_by_tenant_and_operator(service: Service, tmp_path: Path) -> None:
    service.deploy("audited", guests.ECHO)
    with httpx.Client(base_url=service.url) as stranger:
        assert stranger.get("/v1/keys").status_code == 401
    checkpoint, log = tmp_path / "checkpoint.json", tmp_path / "log.ndjson"
    for _ in range(2):
        done = stockade(service, "audit", "verify", "--checkpoint", str(checkpoint))
        assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(checkpoint.read_text())["sequence"] >= 4
    assert stockade(service, "audit", "export", "--out", str(log)).returncode == 0
    assert stockade(service, "audit", "verify", str(log)).returncode == 0
    log.write_text(log.read_text().replace('"deploy"', '"upload"', 1))
    assert stockade(service, "audit", "verify", str(log)).returncode == 5
    where = ("--database-url", f"sqlite:///{service.data_dir / 'catalog.sqlite'}")
    key = ("--audit-key-file", str(service.data_dir / "audit.key"))
    done = stockade(service, "audit", "verify", *where, *key, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {"_platform", "dev"} <= {one["chain"] for one in json.loads(done.stdout)}
    answer = service.http.get("/v1/audit", params={"action": "deploy", "object": "audited"})
    assert [entry["kind"] for entry in answer.json()["entries"]] == ["done", "begun"]


def test_an_attestation_is_kept_beside_its_module(service: Service) -> None:
    service.deploy("attested", guests.ECHO)
    digest = service.upload(sign(guests.ECHO, KEY)).json()["digest"]
    build = Build("https://example.org/ci", "https://example.org/team/app", COMMIT)
    envelope = attest(guests.ECHO, "echo.wasm", build, KEY)
    headers = {"content-type": "application/json"}
    place = f"/v1/modules/{digest}/attestations"
    made = service.http.post(place, content=envelope, headers=headers)
    assert made.status_code == 201, made.text
    shown = service.http.get(place).json()["attestations"]
    assert shown[0]["sources"][1] == f"https://example.org/team/app@{COMMIT}"
    assert service.invoke("attested", b"x").content == b"x"
