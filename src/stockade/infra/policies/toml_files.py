"""TOML of exactly one shape: what is unknown, missing or nested without end is told."""

import tomllib
from pathlib import Path
from typing import TypeVar

import msgspec

S = TypeVar("S", bound=msgspec.Struct)


def load_toml(path: Path, shape: type[S]) -> S:
    """What the file says.

    Raises:
        OSError: It cannot be read.
        ValueError: As `parse_toml`.
    """
    return parse_toml(path.read_bytes(), shape)


def parse_toml(content: bytes, shape: type[S]) -> S:
    """What the text says.

    Raises:
        ValueError: It is not UTF-8, no TOML, or not of the shape.
    """
    try:
        return msgspec.convert(tomllib.loads(content.decode()), shape)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
