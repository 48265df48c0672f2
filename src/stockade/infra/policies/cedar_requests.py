"""Questions as Cedar takes them: a request, and the entities that it speaks of."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stockade.core.authorization import Attribute, Question, Resource, Vouching
from stockade.core.principals import Kind, Principal, Role

_TYPES = {Kind.KEY: "Key", Kind.WORKLOAD: "Workload"}
_Entity = dict[str, Any]


@dataclass(frozen=True, slots=True)
class CedarRequest:
    """A request, and the JSON of the entities."""

    action: str
    request: dict[str, Any]
    entities_json: str


def ask_question(question: Question) -> CedarRequest:
    """May this principal do that?"""
    caller, resource = question.principal, question.resource
    entities = [_principal(caller), *_resource_entities(resource)]
    context = {name: _value(value) for name, value in question.context.items()}
    if question.module is not None:
        entities += _resource_entities(question.module)
        context["module"] = {"__entity": _resource_uid(question.module)}
    principal = _uid(_TYPES[caller.kind], caller.id)
    return _request(principal, question.action.value, _resource_uid(resource), context, entities)


def ask_vouching(vouching: Vouching) -> CedarRequest:
    """Does this signer's signature count?"""
    uid = _uid("Signer", f"{vouching.tenant}/{vouching.signer}")
    attributes = {
        "tenant": _tenant(vouching.tenant),
        "name": vouching.signer,
        "public_key": vouching.public_key_hex,
    }
    entities = [_entity(uid, attributes), *_resource_entities(vouching.module)]
    return _request(uid, "vouch", _resource_uid(vouching.module), {}, entities)


def _request(
    principal: _Entity,
    action: str,
    resource: _Entity,
    context: _Entity,
    entities: list[_Entity],
) -> CedarRequest:
    asked = {
        "principal": principal,
        "action": _uid("Action", action),
        "resource": resource,
        "context": context,
    }
    return CedarRequest(action, asked, json.dumps(entities))


def _principal(caller: Principal) -> _Entity:
    attributes = {
        "tenant": _tenant(caller.tenant),
        "role": caller.role,
        "scopes": list(caller.scopes),
    }
    # In each role up to its own, so that no entities of roles are needed beside it.
    roles = tuple(_uid("Role", role) for role in Role if role.rank <= caller.role.rank)
    made = _entity(_uid(_TYPES[caller.kind], caller.id), attributes, roles)
    return made | ({"tags": dict(caller.claims)} if caller.kind is Kind.WORKLOAD else {})


def _resource_entities(resource: Resource) -> list[_Entity]:
    """What has attributes; a tenant has none, and is known by its name alone."""
    if resource.kind == "Tenant":
        return []
    name = "digest" if resource.kind == "Module" else "name"
    attributes: Mapping[str, object] = {"tenant": _tenant(resource.tenant), name: resource.name}
    more = {key: _value(value) for key, value in resource.attributes.items()}
    tenant = _uid("Tenant", resource.tenant)
    return [_entity(_resource_uid(resource), {**attributes, **more}, (tenant,))]


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
