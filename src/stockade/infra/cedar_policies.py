"""Authorization policies in Cedar (https://docs.cedarpolicy.com), read from a directory.

Cedar skips a policy whose condition errors, so a `forbid` that errors would let through what it
stands against: here an error in any policy denies. Policies are checked against the schema when
they are read, which leaves few ways to err.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

import cedarpy

from stockade.core.authorization import Attribute, Decision, Question, Resource, Vouching
from stockade.core.errors import StockadeError
from stockade.core.principals import Kind, Principal, Role

SCHEMA_FILE = "schema.cedarschema"
_MAX_BYTES = 1024 * 1024
_TYPES = {Kind.KEY: "Key", Kind.WORKLOAD: "Workload"}
_Entity = dict[str, Any]


class CedarPolicies:
    """The `PolicyEngine` port; immutable: a changed directory makes a new one."""

    alarm: str | None = None

    def __init__(self, schema_text: str, policies_text: str) -> None:
        """Reads both texts.

        Raises:
            ValueError: When they cannot be used, and why.
        """
        result = cedarpy.validate_policies(policies_text, schema_text)
        if not result.validation_passed:
            names = result.id_annotations_by_policy_id
            faults = (
                f"{names.get(one.policy_id, one.policy_id)}: {one.error}" for one in result.errors
            )
            raise ValueError("; ".join(faults))
        _check_named(policies_text)
        self._schema = cedarpy.Schema.from_str(schema_text)
        self._policies = cedarpy.PolicySet.from_str(policies_text)
        self._roles = cedarpy.Entities.from_json_str(json.dumps(_roles()), self._schema)
        content = f"{len(schema_text)}:{schema_text}{policies_text}"
        self.version = hashlib.sha256(content.encode()).hexdigest()[:16]

    @classmethod
    def load(cls, directory: Path) -> Self:
        """The policies in `*.cedar` of the directory, which must fit its `schema.cedarschema`.

        Raises:
            StockadeError: `config.policies_invalid`.
        """
        try:
            schema, policies = read_policies(directory)
            return cls(schema, policies)
        except (OSError, ValueError) as error:
            raise StockadeError(
                "config.policies_invalid", f"The policies in {directory} cannot be used: {error}."
            ) from error

    def decide(self, question: Question) -> Decision:
        """What the policies say; nothing that they do not permit is allowed."""
        caller, resource = question.principal, question.resource
        entities = [_principal(caller), *_resource_entities(resource)]
        context = {name: _value(value) for name, value in question.context.items()}
        if question.module is not None:
            entities += _resource_entities(question.module)
            context["module"] = {"__entity": _resource_uid(question.module)}
        principal = _uid(_TYPES[caller.kind], caller.id)
        return self._ask(principal, question.action, _resource_uid(resource), context, entities)

    def vouches(self, vouching: Vouching) -> Decision:
        """Whether the signer's signature counts for the module."""
        uid = _uid("Signer", f"{vouching.tenant}/{vouching.signer}")
        attributes = {
            "tenant": _tenant(vouching.tenant),
            "name": vouching.signer,
            "public_key": vouching.public_key_hex,
        }
        entities = [_entity(uid, attributes), *_resource_entities(vouching.module)]
        return self._ask(uid, "vouch", _resource_uid(vouching.module), {}, entities)

    def _ask(
        self,
        principal: _Entity,
        action: str,
        resource: _Entity,
        context: _Entity,
        entities: list[_Entity],
    ) -> Decision:
        request = {
            "principal": principal,
            "action": _uid("Action", action),
            "resource": resource,
            "context": context,
        }
        try:
            distinct = {json.dumps(one["uid"]): one for one in entities}
            known = self._roles.with_added_json_str(
                json.dumps(list(distinct.values())), self._schema
            )
            result = cedarpy.is_authorized(request, self._policies, known, self._schema)
        except ValueError:
            return Decision(allowed=False, failed=True)
        said = result.diagnostics
        names = tuple(sorted(said.id_annotations_by_reason.values()))
        return Decision(result.allowed and not said.errors, names, failed=bool(said.errors))


def read_policies(directory: Path) -> tuple[str, str]:
    """The texts of the schema and of all policies, in the order of the files' names.

    Raises:
        OSError: When a file cannot be read.
        ValueError: When they are too large, not UTF-8, or there are none.
    """
    files = sorted(directory.glob("*.cedar"))
    if not files:
        raise ValueError("there is no .cedar file")
    every = [directory / SCHEMA_FILE, *files]
    if sum(file.stat().st_size for file in every) > _MAX_BYTES:
        raise ValueError(f"they are larger than {_MAX_BYTES} bytes")
    schema, *policies = [file.read_text(encoding="utf-8") for file in every]
    return schema, "\n".join(policies)


def _check_named(policies_text: str) -> None:
    """Denials name policies, so each needs a name of its own."""
    parsed = json.loads(cedarpy.policies_to_json_str(policies_text))
    if parsed.get("templates"):
        raise ValueError("templates are not supported; write policies")
    seen: set[str] = set()
    for policy in parsed["staticPolicies"].values():
        name = (policy.get("annotations") or {}).get("id")
        if not name:
            raise ValueError("a policy has no @id")
        if name in seen:
            raise ValueError(f"two policies have the @id {name!r}")
        seen.add(name)


def _roles() -> list[_Entity]:
    """Each role in the one before it."""
    roles = list(Role)
    parents: Iterable[Role | None] = (None, *roles)
    return [
        _entity(_uid("Role", role), {}, () if parent is None else (_uid("Role", parent),))
        for role, parent in zip(roles, parents, strict=False)
    ]


def _principal(caller: Principal) -> _Entity:
    attributes = {
        "tenant": _tenant(caller.tenant),
        "role": caller.role,
        "scopes": list(caller.scopes),
    }
    made = _entity(_uid(_TYPES[caller.kind], caller.id), attributes, (_uid("Role", caller.role),))
    return made | ({"tags": dict(caller.claims)} if caller.kind is Kind.WORKLOAD else {})


def _resource_entities(resource: Resource) -> list[_Entity]:
    tenant = _entity(_uid("Tenant", resource.tenant), {})
    uid = _resource_uid(resource)
    if uid == tenant["uid"]:
        return [tenant]
    name = "digest" if resource.kind == "Module" else "name"
    attributes: Mapping[str, object] = {"tenant": _tenant(resource.tenant), name: resource.name}
    more = {key: _value(value) for key, value in resource.attributes.items()}
    return [tenant, _entity(uid, {**attributes, **more}, (tenant["uid"],))]


def _resource_uid(resource: Resource) -> _Entity:
    if resource.kind == "Tenant":
        return _uid("Tenant", resource.tenant)
    return _uid(resource.kind, f"{resource.tenant}/{resource.name}")


def _tenant(name: str) -> _Entity:
    return {"__entity": _uid("Tenant", name)}


def _uid(kind: str, name: str) -> _Entity:
    return {"type": kind, "id": name}


def _entity(
    uid: _Entity, attributes: Mapping[str, object], parents: tuple[_Entity, ...] = ()
) -> _Entity:
    return {"uid": uid, "attrs": attributes, "parents": list(parents)}


def _value(value: Attribute) -> object:
    return list(value) if isinstance(value, tuple) else value
