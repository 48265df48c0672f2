"""A worker whose cache was tampered with runs what was uploaded, and mends the cache."""

from pathlib import Path

from tests.e2e.service import PUBLIC, Service, running_service
from tests.guest import guests

REJECTING = guests.module("(i32.store8 (i32.const 0) (i32.const 1)) (i64.const 2)")
GUESTS = {
    "flipped": guests.ECHO,
    "swapped": guests.ECHO + b"\0\2\1a",
    "linked": guests.ECHO + b"\0\2\1b",
    "rejecting": REJECTING,
}


def artifact(service: Service, digest: object) -> Path:
    """Where the compiled module of this digest lies."""
    name = str(digest).removeprefix("sha256:")
    [path] = (service.data_dir / "cache" / "artifacts").glob(f"*/{name}")
    return path


def is_right(service: Service) -> None:
    for name in ("flipped", "swapped", "linked"):
        echoed = service.invoke(name, b"hello")
        assert (echoed.status_code, echoed.content) == (200, b"hello"), name
    assert service.invoke("rejecting").json()["code"] == "invocation.rejected"


def test_poison_is_never_run(tmp_path: Path) -> None:
    with running_service(tmp_path / "data") as service:
        service.http.post("/v1/signers", json={"name": "tests", "public_key": PUBLIC})
        digests = {name: service.deploy(name, body)["module"] for name, body in GUESTS.items()}
        is_right(service)
        files = {name: artifact(service, digest) for name, digest in digests.items()}
    good = {name: path.read_bytes() for name, path in files.items()}
    flipped = bytearray(good["flipped"])
    flipped[-100] ^= 1
    files["flipped"].write_bytes(flipped)
    files["swapped"].write_bytes(good["rejecting"])
    files["rejecting"].write_bytes(good["swapped"])
    files["linked"].unlink()
    files["linked"].symlink_to(files["rejecting"])
    with running_service(tmp_path / "data") as service:
        is_right(service)
    assert {name: path.read_bytes() for name, path in files.items()} == good
    assert not files["linked"].is_symlink()
