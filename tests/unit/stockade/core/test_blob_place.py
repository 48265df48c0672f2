"""Where blobs are kept: what settings may say, and what they may not hide in a URL."""

from pathlib import Path

import pytest

from stockade.core.blob_place import BlobPlace, Bucket, blob_place, parse_blobs_url, parse_endpoint


@pytest.mark.parametrize(
    ("url", "bucket"),
    [
        ("file", None),
        ("s3://modules", Bucket("modules", "")),
        ("s3://modules/", Bucket("modules", "")),
        ("s3://my.modules-1/a/b_c.d", Bucket("my.modules-1", "a/b_c.d")),
    ],
)
def test_a_url_names_a_bucket_or_the_directory(url: str, bucket: Bucket | None) -> None:
    assert parse_blobs_url(url) == bucket


@pytest.mark.parametrize(
    "url",
    [
        "",
        "file:///var/blobs",
        "https://bucket/prefix",
        "s3://",
        "s3:///prefix",
        "s3://Bucket",
        "s3://key:hidden@bucket",
        "s3://bucket:80",
        "s3://bucket?versionId=1",
        "s3://bucket#part",
        "s3://bucket/../other",
        "s3://bucket/a//b",
        "s3://bucket/a/.",
        "s3://bucket/a b",
    ],
)
def test_other_urls_are_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ValueError, match="must be 'file'") as caught:
        parse_blobs_url(url)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("url", ["", "http://127.0.0.1:9000", "https://minio.example"])
def test_an_endpoint_is_an_address(url: str) -> None:
    assert parse_endpoint(url) == url


@pytest.mark.parametrize(
    "url", ["minio:9000", "ftp://minio", "http://", "http://a:hidden@minio", "http://minio?x=1"]
)
def test_what_is_no_endpoint_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="must be http://HOST:PORT") as caught:
        parse_endpoint(url)
    assert "hidden" not in str(caught.value)


def test_settings_make_a_place(tmp_path: Path) -> None:
    assert blob_place("file", tmp_path, "", "", None) == BlobPlace(tmp_path)
    keys = tmp_path / "keys"
    made = blob_place("s3://modules/a", None, "http://minio:9000", "eu", keys)
    assert made == BlobPlace(None, Bucket("modules", "a"), "http://minio:9000", "eu", keys)


def test_blobs_need_a_place() -> None:
    with pytest.raises(ValueError, match="blob_dir is missing"):
        blob_place("file", None, "", "", None)
