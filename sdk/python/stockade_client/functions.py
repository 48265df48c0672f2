"""Functions over their life: versions, comparisons, deletion; every call, and how it is read."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx

from stockade_client import readers
from stockade_client.calls import Call, path_part
from stockade_client.fields import Fields
from stockade_client.types import Function, FunctionDetails, FunctionVersion


@dataclass(frozen=True, slots=True)
class FunctionPage:
    """Some functions; `next` is what to go on after, None behind the last."""

    functions: tuple[Function, ...]
    next: str | None = None


@dataclass(frozen=True, slots=True)
class VersionPage:
    """Some versions, newest first; `next` is what to go on before, None behind the last."""

    versions: tuple[FunctionDetails, ...]
    next: int | None = None


@dataclass(frozen=True, slots=True)
class VersionDiff:
    """What differs between two versions, by `module`, `limits`, `grants`, `imports` and so on.

    A thing that changed reads `{"from": …, "to": …}`, a set `{"added": […], "removed": […]}`.
    """

    name: str
    before: int
    after: int
    changes: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Refusal:
    """One reason why a deploy would be refused."""

    code: str
    message: str
    facts: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What a deploy would do: `version` is the number that it would have, or has already.

    `against` is the version that `changes` compare with; None for a new function.
    """

    name: str
    version: int
    creates: bool
    against: int | None = None
    changes: Mapping[str, object] = field(default_factory=dict)
    refusals: tuple[Refusal, ...] = ()

    @property
    def passes(self) -> bool:
        """Whether nothing was found that it would be refused for."""
        return not self.refusals


@dataclass(frozen=True, slots=True)
class DeletedFunction:
    """A function that can be restored for a time. Times are Unix milliseconds."""

    name: str
    version: int
    deleted_ms: int
    deleted_by: str
    restorable_until_ms: int


def put_function(name: str, content: Mapping[str, object]) -> Call[FunctionVersion]:
    """PUT /v1/functions/{name}; what is None takes the default."""
    return Call("PUT", path(name), readers.function_version, json=_given(content))


def rehearse_function(
    name: str, content: Mapping[str, object], against: str | None
) -> Call[Rehearsal]:
    """PUT /v1/functions/{name}?dry_run=true."""
    params = {"dry_run": "true"} | ({} if against is None else {"against": against})
    return Call("PUT", path(name), _rehearsal, params=params, json=_given(content))


def rehearsed_module(module: str | bytes, detached_signature: bytes | None) -> dict[str, object]:
    """A digest, or a module that goes along."""
    if isinstance(module, str):
        return {"module": module}
    signature = detached_signature
    return {
        "module": None,
        "wasm_base64": base64.b64encode(module).decode(),
        "signature_base64": None if signature is None else base64.b64encode(signature).decode(),
    }


def functions(after: str | None, limit: int | None) -> Call[FunctionPage]:
    """GET /v1/functions."""
    params = _texts({"after": after, "limit": limit})
    return Call("GET", "/v1/functions", _function_page, params=params)


def function(name: str, alias: str | None, version: int | None) -> Call[FunctionDetails]:
    """GET /v1/functions/{name}."""
    params = _texts({"alias": alias, "version": version})
    return Call("GET", path(name), readers.function_details, params=params)


def versions(name: str, before: int | None, limit: int | None) -> Call[VersionPage]:
    """GET /v1/functions/{name}/versions."""
    params = _texts({"before": before, "limit": limit})
    return Call("GET", f"{path(name)}/versions", _version_page, params=params)


def delete_version(name: str, version: int) -> Call[None]:
    """DELETE /v1/functions/{name}/versions/{version}."""
    return Call("DELETE", f"{path(name)}/versions/{version}", readers.nothing)


def diff(name: str, before: str, after: str) -> Call[VersionDiff]:
    """GET /v1/functions/{name}/diff."""
    return Call("GET", f"{path(name)}/diff", _diff, params={"from": before, "to": after})


def delete_function(name: str) -> Call[DeletedFunction]:
    """DELETE /v1/functions/{name}."""
    return Call("DELETE", path(name), lambda answer: _deleted(Fields(answer.json())))


def restore_function(name: str) -> Call[FunctionDetails]:
    """POST /v1/functions/{name}/restore."""
    return Call("POST", f"{path(name)}/restore", readers.function_details)


def deleted_functions() -> Call[tuple[DeletedFunction, ...]]:
    """GET /v1/functions?deleted=true."""
    params = {"deleted": "true", "limit": "200"}
    return Call("GET", "/v1/functions", _all_deleted, params=params)


def path(name: str) -> str:
    """Where a function is."""
    return f"/v1/functions/{path_part(name)}"


def _given(content: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in content.items() if value is not None}


def _texts(values: Mapping[str, str | int | None]) -> dict[str, str]:
    return {key: str(value) for key, value in values.items() if value is not None}


def _function_page(response: httpx.Response) -> FunctionPage:
    return FunctionPage(readers.functions(response), Fields(response.json()).maybe_text("next"))


def _version_page(response: httpx.Response) -> VersionPage:
    fields = Fields(response.json())
    found = tuple(map(readers.details_of, fields.objects("versions")))
    return VersionPage(found, fields.maybe_count("next"))


def _diff(response: httpx.Response) -> VersionDiff:
    fields = Fields(response.json())
    changes = fields.nested("changes").rest()
    return VersionDiff(fields.text("name"), fields.count("from"), fields.count("to"), changes)


def _rehearsal(response: httpx.Response) -> Rehearsal:
    fields = Fields(response.json())
    return Rehearsal(
        name=fields.text("name"),
        version=fields.count("version"),
        creates=fields.flag("creates"),
        against=fields.maybe_count("against"),
        changes=fields.nested("changes").rest(),
        refusals=tuple(map(_refusal, fields.objects("refusals"))),
    )


def _refusal(fields: Fields) -> Refusal:
    return Refusal(fields.text("code"), fields.text("detail"), fields.nested("facts").rest())


def _all_deleted(response: httpx.Response) -> tuple[DeletedFunction, ...]:
    return tuple(map(_deleted, Fields(response.json()).objects("deleted")))


def _deleted(fields: Fields) -> DeletedFunction:
    return DeletedFunction(
        name=fields.text("name"),
        version=fields.count("version"),
        deleted_ms=fields.count("deleted_ms"),
        deleted_by=fields.text("deleted_by"),
        restorable_until_ms=fields.count("restorable_until_ms"),
    )
