"""Names and digests of OCI content."""

import pytest

from stockade.core.errors import StockadeError
from stockade.core.oci import (
    MAX_NAME_CHARACTERS,
    check_content,
    check_reference,
    hash_for,
    is_digest,
    is_tag,
    parse_repository,
)

SHA256 = "sha256:" + "0a" * 32
SHA512 = "sha512:" + "0a" * 64


@pytest.mark.parametrize("path", ["hello", "a/b/c", "a.b_c__d-e---f", "0", "a" * 249])
def test_a_repository_of_a_tenant(path: str) -> None:
    repository = parse_repository(f"alice/{path}")
    assert (repository.tenant, repository.path) == ("alice", path)
    assert repository.name == f"alice/{path}"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "alice",
        "alice/",
        "/hello",
        "alice//hello",
        "alice/..",
        "alice/../x",
        "alice/Hello",
        "alice/-a",
        "alice/a-",
        "alice/a___b",
        "alice/a..b",
        "alice/a._b",
        "alice/a b",
        "alice/a\n",
        "alice/a\0",
        "alice/\u0430",
        "alice/" + "a" * (MAX_NAME_CHARACTERS - 5),
    ],
)
def test_names_of_no_repository(name: str) -> None:
    with pytest.raises(StockadeError) as refused:
        parse_repository(name)
    assert refused.value.code == "oci.name_invalid"


def test_references() -> None:
    for reference in ("latest", "v1.2_3-4", "_", "A" * 128, SHA256, SHA512):
        assert check_reference(reference) == reference
    for reference in ("", ".a", "-a", "a" * 129, "a/b", "a b", "a\n"):
        assert not is_tag(reference)
        with pytest.raises(StockadeError) as refused:
            check_reference(reference)
        assert refused.value.code == "oci.tag_invalid"
    for reference in (SHA256.upper(), SHA256[:-1], SHA512 + "0", "sha1:" + "0" * 40, "a:b", ":"):
        assert not is_digest(reference)
        with pytest.raises(StockadeError) as refused:
            check_reference(reference)
        assert refused.value.code == "oci.digest_invalid"


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_content_has_the_digest_that_names_it(algorithm: str) -> None:
    running = hash_for(f"{algorithm}:")
    running.update(b"con")
    running.update(b"tent")
    check_content(f"{algorithm}:{running.hexdigest()}", running)
    with pytest.raises(StockadeError) as refused:
        check_content(f"{algorithm}:{'0' * 64}", running)
    assert refused.value.code == "oci.digest_mismatch"
