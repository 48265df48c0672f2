"""Authorization policies in Cedar (https://docs.cedarpolicy.com), read from a directory.

Cedar skips a policy whose condition errors, so a `forbid` that errors would let through what it
stands against: here an error in any policy denies. Policies are checked against the schema when
they are read, which leaves few ways to err; the schema is checked against what this release asks.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import cedarpy

from stockade.core.authorization import Decision, Question, Vouching
from stockade.core.errors import StockadeError
from stockade.core.policy_questions import SAMPLE_VOUCHING, every_question
from stockade.infra.policies.cedar_requests import CedarRequest, ask_question, ask_vouching
from stockade.infra.policies.policy_text import (
    MAX_POLICIES,
    Source,
    Statement,
    cut,
    read_sources,
    schema_text,
)

_MAX_FAULTS, _MAX_REASON = 10, 500
_FAILED = re.compile(r"error while evaluating policy `policy(\d+)`")


class CedarPolicies:
    """The `PolicyEngine` port; immutable: a changed directory makes a new one.

    Args:
        sources: The schema, then the files of policies.

    Raises:
        ValueError: They cannot be used, and what is wrong where.
    """

    alarm: str | None = None

    def __init__(self, sources: Sequence[Source]) -> None:
        schema, *files = sources
        statements = [statement for file in files for statement in cut(file)]
        if len(statements) > MAX_POLICIES:
            raise ValueError(f"there are more than {MAX_POLICIES} policies")
        _check_ids(statements)
        checked = schema_text(schema)
        with _native(schema.name):
            self._schema = cedarpy.Schema.from_str(checked, release_gil=True)
        self._policies = cedarpy.PolicySet.from_str("")
        self._check_schema_fits(schema.name)
        self._policies = _parsed(statements, self._schema)
        self.ids = tuple(one.id for one in statements)
        digest = hashlib.sha256()
        for source in sources:
            digest.update(f"{source.name}:{len(source.content)}:".encode() + source.content)
        self.version = digest.hexdigest()[:16]

    @classmethod
    def load(cls, directory: Path) -> Self:
        """The policies in `*.cedar` of the directory, which must fit its `schema.cedarschema`.

        Raises:
            StockadeError: `config.policies_invalid`.
        """
        try:
            return cls(read_sources(directory))
        except (OSError, ValueError) as error:
            raise policies_invalid(directory, error) from error

    def decide(self, question: Question) -> Decision:
        """What the policies say; nothing that they do not permit is allowed."""
        return self._decided(ask_question(question))

    def vouches(self, vouching: Vouching) -> Decision:
        """Whether the signer's signature counts for the module."""
        return self._decided(ask_vouching(vouching))

    def _decided(self, asked: CedarRequest) -> Decision:
        try:
            said = self._evaluated(asked)
        except ValueError as error:
            return Decision(allowed=False, failed=True, reason=str(error)[:_MAX_REASON])
        errors = said.diagnostics.errors
        if errors:
            names, reason = self._failed(errors), "; ".join(errors)[:_MAX_REASON]
            return Decision(allowed=False, policies=names, failed=True, reason=reason)
        names = tuple(sorted(said.diagnostics.id_annotations_by_reason.values()))
        return Decision(said.allowed, names)

    def _evaluated(self, asked: CedarRequest) -> cedarpy.AuthzResult:
        """What Cedar says.

        Raises:
            ValueError: The question does not fit the schema.
        """
        with _native("the question"):
            entities = cedarpy.Entities.from_json_str(asked.entities_json, self._schema)
            said = cedarpy.is_authorized(asked.request, self._policies, entities, self._schema)
        if said.decision is cedarpy.Decision.NoDecision:
            raise ValueError("; ".join(said.diagnostics.errors))
        return said

    def _failed(self, errors: Iterable[str]) -> tuple[str, ...]:
        found = (_FAILED.match(error) for error in errors)
        return tuple(sorted({self.ids[int(one[1])] for one in found if one is not None}))

    def _check_schema_fits(self, name: str) -> None:
        """Else the questions of this release would be denied, one by one, later."""
        for asked in (*map(ask_question, every_question()), ask_vouching(SAMPLE_VOUCHING)):
            try:
                self._evaluated(asked)
            except ValueError as error:
                raise ValueError(
                    f"{name} does not fit this release, which asks for {asked.action!r}: {error}"
                ) from None


def policies_invalid(directory: Path, error: Exception) -> StockadeError:
    """Why the policies of a directory are not used."""
    return StockadeError(
        "config.policies_invalid", f"The policies in {directory} cannot be used: {error}."
    )


def _check_ids(statements: Iterable[Statement]) -> None:
    """Denials name policies, so each has a name of its own."""
    places: dict[str, str] = {}
    for one in statements:
        if one.id in places:
            raise ValueError(f"{one.place}: the @id {one.id!r} is taken by {places[one.id]}")
        places[one.id] = one.place


def _parsed(statements: Sequence[Statement], schema: cedarpy.Schema) -> cedarpy.PolicySet:
    """All of them, numbered in their order, each sound by the schema."""
    for one in statements:
        with _native(f"{one.place}: policy {one.id!r}"):
            cedarpy.PolicySet.from_str(one.text)
    text = "\n".join(one.text for one in statements)
    with _native("the policies"):
        result = cedarpy.validate_policies(text, schema, release_gil=True)
        parsed = cedarpy.PolicySet.from_str(text, release_gil=True)
    if not result.validation_passed:
        raise ValueError("; ".join(_faults(statements, result.errors)))
    return parsed


def _faults(
    statements: Sequence[Statement], errors: Sequence[cedarpy.ValidationError]
) -> Iterator[str]:
    for error in errors[:_MAX_FAULTS]:
        one = statements[int(error.policy_id.removeprefix("policy"))]
        what = error.error.removeprefix(f"for policy `{error.policy_id}`, ")
        yield f"{one.place}: policy {one.id!r}: {what}"


@contextmanager
def _native(place: str) -> Iterator[None]:
    """Says where the native code found something wrong; its panics are no exceptions of Python's.

    Raises:
        ValueError: What it did not take.
    """
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise ValueError(f"{place}: the policy engine gave up") from None
