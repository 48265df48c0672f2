"""Real OCI clients against a real gateway: oras, skopeo, and the specification's own suite."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import oras.client
import pytest

from registry.signing import sign
from tests.e2e.service import KEY, Service
from tests.guest.guests import ECHO

REPOSITORY = "dev/clients"
CONFIG = "application/vnd.wasm.config.v0+json"
WASM = "application/wasm"
IMAGE = "application/vnd.oci.image.manifest.v1+json"
SIGNED = sign(ECHO, KEY)


def tool(name: str, *, always_in_ci: bool) -> str:
    """Where a program is; without it there is no test."""
    found = shutil.which(name)
    if found is None and not (always_in_ci and os.getenv("CI")):
        pytest.skip(f"{name} is not on the PATH; .ci/run says how it comes there")
    assert found is not None, f"{name} must be on the PATH in CI"
    return found


@pytest.fixture
def api_key(service: Service) -> str:
    return service.http.headers["authorization"].removeprefix("Bearer ")


@pytest.fixture
def host(service: Service) -> str:
    return service.url.removeprefix("http://")


@pytest.fixture
def oras_client(
    host: str, api_key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[oras.client.OrasClient]:
    monkeypatch.setenv("HOME", str(tmp_path))  # its login is written there
    monkeypatch.chdir(tmp_path)
    client = oras.client.OrasClient(hostname=host, insecure=True, auth_backend="basic")
    client.login(hostname=host, username="anyone", password=api_key)
    yield client
    client.session.close()


@pytest.mark.parametrize("chunked", [False, True])
def test_oras_pushes_a_module_that_then_runs(
    service: Service,
    host: str,
    oras_client: oras.client.OrasClient,
    tmp_path: Path,
    chunked: bool,  # noqa: FBT001 - pytest's way
) -> None:
    (tmp_path / "echo.wasm").write_bytes(SIGNED)
    (tmp_path / "config.json").write_text("{}")
    target = f"{host}/{REPOSITORY}/oras-{chunked}:1".lower()
    pushed = oras_client.push(
        target=target,
        files=[f"echo.wasm:{WASM}"],
        manifest_config=f"config.json:{CONFIG}",
        do_chunked=chunked,
        chunk_size=100,
        quiet=True,
    )
    assert pushed.status_code == 201, pushed.text
    module = pushed.headers["stockade-module-digest"]
    deployed = service.http.put("/v1/functions/by-oras", json={"module": module})
    assert deployed.status_code in {200, 201}, deployed.text
    assert service.invoke("by-oras", b"hello").content == b"hello"
    assert oras_client.get_tags(target) == ["1"]
    (pulled,) = oras_client.pull(target=target, outdir=str(tmp_path / "pulled"))
    assert Path(pulled).read_bytes() == SIGNED


def test_what_nobody_signed_is_kept_and_does_not_run(
    service: Service, host: str, oras_client: oras.client.OrasClient, tmp_path: Path
) -> None:
    (tmp_path / "echo.wasm").write_bytes(ECHO)
    (tmp_path / "config.json").write_text("{}")
    target = f"{host}/{REPOSITORY}/unsigned:1"
    pushed = oras_client.push(
        target=target,
        files=[f"echo.wasm:{WASM}"],
        manifest_config=f"config.json:{CONFIG}",
        quiet=True,
    )
    assert pushed.headers["stockade-not-promoted"] == "module.unsigned"
    (pulled,) = oras_client.pull(target=target, outdir=str(tmp_path / "pulled"))
    assert Path(pulled).read_bytes() == ECHO
    asked = {"reference": "clients/unsigned:1"}
    refused = service.http.post("/v1/modules:from-oci", json=asked)
    assert (refused.status_code, refused.json()["code"]) == (422, "module.unsigned")


def test_a_wrong_password_is_refused(host: str) -> None:
    with httpx.Client(base_url=f"http://{host}", auth=("anyone", "stk_wrong")) as client:
        answer = client.get("/v2/")
        assert answer.status_code == 401
        assert answer.json()["errors"][0]["code"] == "UNAUTHORIZED"


def write_layout(directory: Path, layers: dict[str, bytes], config_type: str) -> None:
    """An OCI image layout with one image, tagged `one`."""
    blobs = directory / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def put(content: bytes, media_type: str, **more: object) -> dict[str, object]:
        hexadecimal = hashlib.sha256(content).hexdigest()
        (blobs / hexadecimal).write_bytes(content)
        digest = f"sha256:{hexadecimal}"
        return {"mediaType": media_type, "digest": digest, "size": len(content), **more}

    config = put(b'{"architecture":"wasm","os":"wasip1","rootfs":{"type":"layers"}}', config_type)
    manifest = {
        "schemaVersion": 2,
        "mediaType": IMAGE,
        "config": config,
        "layers": [put(content, kind) for kind, content in layers.items()],
    }
    name = {"annotations": {"org.opencontainers.image.ref.name": "one"}}
    index = {"schemaVersion": 2, "manifests": [put(json.dumps(manifest).encode(), IMAGE, **name)]}
    (directory / "index.json").write_text(json.dumps(index))
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


def blobs_of(layout: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (layout / "blobs" / "sha256").iterdir()}


@pytest.mark.parametrize(
    ("config_type", "layers"),
    [
        (CONFIG, {WASM: SIGNED}),
        (
            "application/vnd.oci.image.config.v1+json",
            {"application/vnd.oci.image.layer.v1.tar": b"\0" * 1024 + os.urandom(300_000)},
        ),
    ],
    ids=["module", "image"],
)
def test_skopeo_copies_there_and_back(
    service: Service,
    host: str,
    api_key: str,
    tmp_path: Path,
    config_type: str,
    layers: dict[str, bytes],
) -> None:
    skopeo = tool("skopeo", always_in_ci=True)
    write_layout(tmp_path / "sent", layers, config_type)
    there = f"docker://{host}/{REPOSITORY}/skopeo:one"

    def run(*words: str) -> str:
        environment = os.environ | {"TMPDIR": str(tmp_path)}  # noqa: TID251 - a child's
        command = [skopeo, "--insecure-policy", *words]
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    login = f"anyone:{api_key}"
    options = ["--preserve-digests", "--quiet"]
    to = ["--dest-tls-verify=false", "--dest-creds", login]
    back = ["--src-tls-verify=false", "--src-creds", login]
    run("copy", *options, *to, f"oci:{tmp_path / 'sent'}:one", there)
    run("copy", *options, *back, there, f"oci:{tmp_path / 'back'}:one")
    assert blobs_of(tmp_path / "back") == blobs_of(tmp_path / "sent")
    tags = run("list-tags", "--tls-verify=false", "--creds", login, there.removesuffix(":one"))
    assert json.loads(tags)["Tags"] == ["one"]
    run("delete", "--tls-verify=false", "--creds", login, there)
    gone = service.http.get(f"/v2/{REPOSITORY}/skopeo/manifests/one")
    assert gone.status_code == 404


def test_the_whole_conformance_suite(host: str, api_key: str, tmp_path: Path) -> None:
    suite = tool("oci-conformance", always_in_ci=False)  # its builder needs Go
    wanted = {
        "OCI_REGISTRY": host,
        "OCI_TLS": "disabled",
        "OCI_REPO1": "dev/conformance/one",
        "OCI_REPO2": "dev/conformance/two",
        "OCI_USERNAME": "anyone",
        "OCI_PASSWORD": api_key,
        "OCI_RESULTS_DIR": str(tmp_path),
        "OCI_API_BLOBS_UPLOAD_CANCEL": "true",
        "OCI_API_BLOBS_DIGEST_HEADER": "true",
        "OCI_API_MANIFESTS_DIGEST_HEADER": "true",
        "OCI_API_MANIFESTS_TAG_PARAM": "true",
    }
    environment = os.environ | wanted  # noqa: TID251 - a child's
    done = subprocess.run(
        [suite], capture_output=True, text=True, env=environment, check=False, timeout=300
    )
    lines = done.stdout.splitlines()
    bad = [line for line in lines if line.endswith((": FAIL", ": Error", ": Skip"))]
    assert (done.returncode, bad) == (0, []), done.stdout[-4000:] + done.stderr
    (total,) = [line for line in lines if line.strip().startswith("Total..")]
    assert int(total.rpartition(":")[2]) > 900
    sys.stdout.write(f"conformance: {total}\n")
