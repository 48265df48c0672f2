"""Modules: what a tenant keeps, what is known of each, and what they take."""

from dataclasses import dataclass

import httpx

from stockade_client import readers
from stockade_client.calls import Call, path_part
from stockade_client.fields import Fields


@dataclass(frozen=True, slots=True)
class ModuleEntry:
    """A module in a list; `created_ms` is Unix time in milliseconds."""

    digest: str
    abi: str
    size_bytes: int
    created_ms: int


@dataclass(frozen=True, slots=True)
class ModulePage:
    """Some modules, newest first; `following` is where the list goes on, None at its end."""

    modules: tuple[ModuleEntry, ...]
    following: str | None


@dataclass(frozen=True, slots=True)
class ModuleVersion:
    """A function version that is made of a module."""

    function: str
    version: int


@dataclass(frozen=True, slots=True)
class ModuleDetails:
    """All that is known of a module.

    `signers` are those that vouch for it now; without any, `refusal` is the code of why it would
    not run and `refusal_detail` says more. `signatures` is how many it was uploaded with.
    """

    digest: str
    signers: tuple[str, ...]
    imports: tuple[str, ...]
    exports: tuple[str, ...]
    abi: str
    deterministic: bool
    size_bytes: int
    created_ms: int | None = None
    signatures: int = 0
    refusal: str | None = None
    refusal_detail: str | None = None
    versions: tuple[ModuleVersion, ...] = ()


@dataclass(frozen=True, slots=True)
class StorageUsage:
    """What the tenant's modules take, and what they may take."""

    module_bytes: int
    modules: int
    limit_module_bytes: int
    limit_modules: int
    oci_bytes: int = 0
    limit_oci_bytes: int = 0


def modules(limit: int | None, after: str | None) -> Call[ModulePage]:
    """GET /v1/modules."""
    given = {"limit": None if limit is None else str(limit), "after": after}
    params = {name: value for name, value in given.items() if value is not None}
    return Call("GET", "/v1/modules", _read_page, params=params)


def module(digest: str) -> Call[ModuleDetails]:
    """GET /v1/modules/{digest}."""
    return Call("GET", f"/v1/modules/{path_part(digest)}", _read_details)


def delete_module(digest: str) -> Call[None]:
    """DELETE /v1/modules/{digest}."""
    return Call("DELETE", f"/v1/modules/{path_part(digest)}", readers.nothing, repeatable=False)


def storage_usage() -> Call[StorageUsage]:
    """GET /v1/usage/storage."""
    return Call("GET", "/v1/usage/storage", _read_usage)


def _read_page(response: httpx.Response) -> ModulePage:
    fields = Fields(response.json())
    entries = (
        ModuleEntry(
            one.text("digest"), one.text("abi"), one.count("size_bytes"), one.count("created_ms")
        )
        for one in fields.objects("modules")
    )
    return ModulePage(tuple(entries), fields.maybe_text("next"))


def _read_details(response: httpx.Response) -> ModuleDetails:
    fields = Fields(response.json())
    refusal = fields.nested("refusal")
    versions = fields.objects("versions")
    return ModuleDetails(
        digest=fields.text("digest"),
        signers=fields.texts("signers"),
        imports=fields.texts("imports"),
        exports=fields.texts("exports"),
        abi=fields.text("abi"),
        deterministic=fields.flag("deterministic"),
        size_bytes=fields.count("size_bytes"),
        created_ms=fields.maybe_count("created_ms"),
        signatures=int(fields.number("signatures")),
        refusal=refusal.maybe_text("code"),
        refusal_detail=refusal.maybe_text("detail"),
        versions=tuple(ModuleVersion(v.text("function"), v.count("version")) for v in versions),
    )


def _read_usage(response: httpx.Response) -> StorageUsage:
    fields = Fields(response.json())
    used, limit = fields.nested("used"), fields.nested("limit")
    return StorageUsage(
        used.count("module_bytes"),
        used.count("modules"),
        limit.count("module_bytes"),
        limit.count("modules"),
        used.maybe_count("oci_bytes") or 0,
        limit.maybe_count("oci_bytes") or 0,
    )
