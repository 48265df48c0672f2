"""Where blobs and payloads are kept: in a directory, or in a bucket that speaks S3."""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

DIRECTORY = "file"
"""The URL that stands for a directory."""
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PREFIX = re.compile(r"(?!\.{1,2}(?:/|$))[A-Za-z0-9._-]+(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._-]+)*")


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket and what every key in it begins with; an empty prefix is the whole bucket's."""

    name: str
    prefix: str


@dataclass(frozen=True, slots=True)
class BlobPlace:
    """Where to find the store. Without a bucket it is `directory`.

    `endpoint` and `region` empty are the provider's own; without a `credentials_file` the
    environment has the credentials (`AWS_…`).
    """

    directory: Path | None = None
    bucket: Bucket | None = None
    endpoint: str = ""
    region: str = ""
    credentials_file: Path | None = None


def parse_blobs_url(text: str) -> Bucket | None:
    """The bucket of `s3://bucket/prefix`; None for `file`.

    Raises:
        ValueError: it is neither.
    """
    if text == DIRECTORY:
        return None
    url = urlsplit(text)
    prefix = url.path.strip("/")
    plain = url.scheme == "s3" and not url.query and not url.fragment
    if plain and _BUCKET.fullmatch(url.netloc) and (not prefix or _PREFIX.fullmatch(prefix)):
        return Bucket(url.netloc, prefix)
    # Not shown: whoever puts credentials there would find them in the logs.
    raise ValueError("must be 'file' or s3://BUCKET/PREFIX, without credentials or a query")


def parse_endpoint(text: str) -> str:
    """The endpoint as it is, when it is one or empty.

    Raises:
        ValueError: it is no plain http or https URL.
    """
    url = urlsplit(text)
    plain = url.scheme in {"http", "https"} and url.hostname and "@" not in url.netloc
    if text and (not plain or url.query or url.fragment):
        raise ValueError("must be http://HOST:PORT or https://HOST, without credentials")
    return text


def blob_place(
    url: str, directory: Path | None, endpoint: str, region: str, credentials_file: Path | None
) -> BlobPlace:
    """The place that a process's settings name.

    Raises:
        ValueError: the URL or the endpoint is none, or the directory is missing.
    """
    bucket = parse_blobs_url(url)
    if bucket is None and directory is None:
        raise ValueError("blob_dir is missing; blobs_url names no bucket that could stand for it")
    return BlobPlace(directory, bucket, parse_endpoint(endpoint), region, credentials_file)
