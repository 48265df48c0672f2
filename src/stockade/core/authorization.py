"""What is asked of policies, and how they answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from stockade.core.actions import Action
from stockade.core.attestations import Provenance
from stockade.core.modules import StoredModule
from stockade.core.principals import Principal

_UNKNOWN = Provenance()

Attribute = str | int | bool | tuple[str, ...]
"""What policies can ask of a resource or a request; a tuple is a set."""


class ResourceKind(StrEnum):
    """The types of what is acted on, as policies call them."""

    TENANT = "Tenant"
    FUNCTION = "Function"
    MODULE = "Module"


@dataclass(frozen=True, slots=True)
class Resource:
    """What is acted on. A tenant's own id is its name; a module's is its digest."""

    kind: ResourceKind
    tenant: str
    name: str
    attributes: Mapping[str, Attribute] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Decision:
    """How policies answer: `policies` names those that decided; none when no policy permits.

    `failed` is set when a policy could not be evaluated, which always denies; then `policies` names
    it, and `reason` is the engine's own, for the operator.
    """

    allowed: bool
    policies: tuple[str, ...] = ()
    failed: bool = False
    reason: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Question:
    """One request to the policies. `module` is what a deploy is about to make a function of."""

    principal: Principal
    action: Action
    resource: Resource
    context: Mapping[str, Attribute] = field(default_factory=dict)
    module: Resource | None = None


@dataclass(frozen=True, slots=True)
class Vouching:
    """The question whether a signer's signature counts for a module."""

    tenant: str
    signer: str
    public_key_hex: str
    module: Resource


def module_resource(
    module: StoredModule, signers: tuple[str, ...] = (), provenance: Provenance = _UNKNOWN
) -> Resource:
    """The module, as policies see it."""
    facts = module.facts
    attributes: dict[str, Attribute] = {
        "abi": facts.abi.value,
        "imports": facts.imports,
        "deterministic": facts.deterministic,
        "size_bytes": facts.size_bytes,
        "signers": signers,
        "builders": provenance.builders,
        "sources": provenance.sources,
    }
    return Resource(ResourceKind.MODULE, module.tenant, module.digest, attributes)
