"""Aliases: the rules by which they change; `alias_weights` has the shares and the draw.

An alias points to versions of its own function, by their numbers and by nothing else: there is no
way to write an alias that points to an alias, so there are no loops. Each rule is pure: it looks at
an `AliasView` and says what the alias is to be. A catalog asks it inside the transaction that
writes the answer, so what the rule saw is what it changes.

Rollback walks back, as an undo does: each one goes to what the alias pointed to before the state it
has now first came about, so a second rollback goes further back and never returns to what the first
one left.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from stockade.core.alias_weights import WHOLE, Weights, mixed
from stockade.core.errors import StockadeError, not_found
from stockade.core.modules import Alias

MAX_ALIASES = 100
"""Of one function."""
KEPT_CHANGES = 100
"""Of one alias: how far back a rollback can go."""
KEPT_DELETED = 100
"""Of one function: how many deleted aliases have a history, the last deleted ones."""


class Verb(StrEnum):
    """How an alias changed."""

    SET = "set"
    PROMOTE = "promote"
    ROLLBACK = "rollback"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Stamp:
    """Who does something (a principal's id), and when in Unix milliseconds."""

    by: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class AliasChange:
    """One change. `restored` is the revision whose state a rollback brought back; else 0."""

    revision: int
    verb: Verb
    before: Weights | None
    after: Weights | None
    at_ms: int
    by: str
    restored: int = 0


@dataclass(frozen=True, slots=True)
class AliasView:
    """What a rule sees: the alias, the function's other aliases, its changes, newest first."""

    name: str
    current: Alias | None
    others: Mapping[str, Weights]
    changes: Sequence[AliasChange]

    @property
    def revision(self) -> int:
        """Of the alias as it is; 0 when there is none."""
        return 0 if self.current is None else self.current.revision

    def change(self, revision: int) -> AliasChange | None:
        """The change that made this revision, if it is remembered."""
        return next((one for one in self.changes if one.revision == revision), None)

    def origin(self, revision: int) -> int:
        """The revision in which the state of this one first came about."""
        change = self.change(revision)
        return revision if change is None else change.restored or revision


@dataclass(frozen=True, slots=True)
class AliasTarget:
    """What a rule decides: no weights delete the alias."""

    verb: Verb
    weights: Weights | None
    restored: int = 0


AliasRule = Callable[[AliasView], AliasTarget | None]
"""Decides; None when the alias is already as it is to be."""


@dataclass(frozen=True, slots=True)
class Promotion:
    """What an alias is to point to: one version, or what another alias points to.

    `share` is how much of the alias it gets, in hundredths of a percent; the versions that had the
    alias keep the rest among them.
    """

    version: int | None = None
    source: str | None = None
    share: int = WHOLE


def pointed(weights: Weights, expected: int | None = None) -> AliasRule:
    """Points the alias to exactly this.

    `expected` here and below is the revision that the caller saw, 0 for no alias, None for
    whatever it is. Whoever asks for what is there already has it, whatever they expected.
    """

    def rule(view: AliasView) -> AliasTarget | None:
        return _moved(view, Verb.SET, weights, expected)

    return rule


def promoted(promotion: Promotion, expected: int | None = None) -> AliasRule:
    """Points the alias to a version or to what another alias points to, wholly or in part."""

    def rule(view: AliasView) -> AliasTarget | None:
        source = _source(view, promotion)
        if promotion.share == WHOLE:
            return _moved(view, Verb.PROMOTE, source, expected)
        if view.current is None:
            raise not_found("alias", view.name)
        weights = mixed(view.current.weights, source, promotion.share)
        return _moved(view, Verb.PROMOTE, weights, expected)

    return rule


def rolled_back(to_revision: int | None = None, expected: int | None = None) -> AliasRule:
    """Points the alias to what it pointed to before, or at an earlier revision.

    With `expected`, asking again for a rollback that was done changes nothing.
    """

    def rule(view: AliasView) -> AliasTarget | None:
        if view.current is None:
            raise not_found("alias", view.name)
        if expected is not None and _rolled_back_already(view, expected, to_revision):
            return None
        check_expected(view, expected)
        if to_revision is None:
            return _one_back(view)
        change = view.change(to_revision)
        if change is None or change.after is None:
            raise StockadeError(
                "alias.revision_not_found",
                f"The alias {view.name!r} has no revision {to_revision} to go back to. Its last"
                f" {KEPT_CHANGES} changes are remembered.",
            )
        if change.after == view.current.weights:
            return None
        return AliasTarget(Verb.ROLLBACK, change.after, view.origin(to_revision))

    return rule


def removed(expected: int | None = None) -> AliasRule:
    """Deletes the alias."""

    def rule(view: AliasView) -> AliasTarget | None:
        if view.current is None:
            raise not_found("alias", view.name)
        check_expected(view, expected)
        return AliasTarget(Verb.DELETE, None)

    return rule


def narrowed(rule: AliasRule, versions: Collection[int]) -> AliasRule:
    """The rule, which may now point to these versions only.

    For what was looked at before the rule is asked: had the alias, or the one it is promoted from,
    changed in between, the rule would point to what nobody looked at.
    """

    def narrow(view: AliasView) -> AliasTarget | None:
        target = rule(view)
        if target is not None and not dict(target.weights or ()).keys() <= set(versions):
            raise StockadeError(
                "alias.changed",
                f"What {view.name!r} was to point to was changed in between. Try again.",
                retryable=True,
                detail={"revision": view.revision},
            )
        return target

    return narrow


def check_expected(view: AliasView, expected: int | None) -> None:
    """Refuses to change what is no longer as the caller saw it.

    Raises:
        StockadeError: `alias.changed`, with the revision that it has.
    """
    if expected is not None and expected != view.revision:
        raise StockadeError(
            "alias.changed",
            f"The alias {view.name!r} was changed in between: its revision is {view.revision}, not"
            f" {expected}. Look at it again, then repeat what still holds.",
            detail={"revision": view.revision, "expected": expected},
        )


def decide(view: AliasView, rule: AliasRule, stamp: Stamp) -> AliasChange | None:
    """The change that the rule asks for, or None.

    Raises:
        StockadeError: What the rule refuses, and `alias.too_many`.
    """
    target = rule(view)
    if target is None:
        return None
    if view.current is None and len(view.others) >= MAX_ALIASES:
        raise StockadeError(
            "alias.too_many",
            f"The function has {MAX_ALIASES} aliases, as many as it may. Delete one first.",
            detail={"most": MAX_ALIASES},
        )
    last = max((one.revision for one in view.changes[:1]), default=0)
    return AliasChange(
        max(view.revision, last) + 1,
        target.verb,
        None if view.current is None else view.current.weights,
        target.weights,
        stamp.at_ms,
        stamp.by,
        target.restored,
    )


def _moved(
    view: AliasView, verb: Verb, weights: Weights, expected: int | None
) -> AliasTarget | None:
    if view.current is not None and view.current.weights == weights:
        return None
    check_expected(view, expected)
    return AliasTarget(verb, weights)


def _source(view: AliasView, promotion: Promotion) -> Weights:
    if promotion.version is not None:
        return ((promotion.version, 1),)
    source = promotion.source or ""
    if source == view.name:
        raise StockadeError(
            "alias.source_invalid", "An alias cannot be promoted from itself. Name another one."
        )
    if source not in view.others:
        raise not_found("alias", source)
    return view.others[source]


def _one_back(view: AliasView) -> AliasTarget:
    base = view.origin(view.revision)
    change = view.change(base)
    if change is None or change.before is None:
        raise StockadeError(
            "alias.no_earlier",
            f"Nothing is known that the alias {view.name!r} pointed to before. Point it to a"
            " version.",
        )
    return AliasTarget(Verb.ROLLBACK, change.before, view.origin(base - 1))


def _rolled_back_already(view: AliasView, expected: int, to_revision: int | None) -> bool:
    change = view.change(view.revision)
    if change is None or change.verb is not Verb.ROLLBACK or change.revision != expected + 1:
        return False
    return to_revision is None or change.restored == view.origin(to_revision)
