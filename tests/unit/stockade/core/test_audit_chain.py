"""Any change to an exported audit log is found, and the first bad entry is named."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stockade.core.audit import AuditHead, bounded, bounded_policies
from stockade.core.audit_chain import (
    NO_HASH,
    check_head,
    entry_hash,
    entry_line,
    extended,
    head_line,
    parse_entry,
    parse_head,
    signed_head,
)
from stockade.core.audit_verify import Checkpoint, Verifier
from stockade.core.errors import StockadeError
from tests.unit.stockade.core.audit_chains import SIGNER, chain, export, facts, is_signed

COUNT = 6
ENTRIES, HEAD = chain(COUNT)
LINES = export(ENTRIES, HEAD)
FIELDS = sorted(json.loads(LINES[0]))


def first_bad(lines: list[str]) -> int | None:
    found = Verifier(is_signed).verify(lines)
    assert (found.fault is None) is (found.head == HEAD)
    return None if found.fault is None else found.fault.sequence


def test_an_untouched_export_is_sound() -> None:
    found = Verifier(is_signed).verify(LINES)
    assert found.fault is None
    assert (found.chain, found.first_sequence, found.entries) == ("acme", 1, COUNT)
    assert found.head == HEAD


def test_a_third_party_can_recompute_a_hash_from_what_the_page_says() -> None:
    told = json.loads(LINES[2])
    hashed = told.pop("hash")
    text = json.dumps(told, sort_keys=True, separators=(",", ":"))
    assert hashlib.sha256(b"stockade-audit-entry-v1\n" + text.encode()).hexdigest() == hashed
    assert told["previous"] == json.loads(LINES[1])["hash"]


QUICK = settings(deadline=None, max_examples=100)
VALUES = st.one_of(
    st.text(max_size=20),
    st.integers(),
    st.none(),
    st.booleans(),
    st.floats(),
    st.lists(st.text(max_size=5), max_size=3),
)


@QUICK
@given(st.integers(0, COUNT - 1), st.sampled_from(FIELDS), VALUES)
def test_any_edit_of_any_field_is_found(at: int, field: str, value: object) -> None:
    told = json.loads(LINES[at])
    kept = type(told[field]) is type(value) and told[field] == value
    edited = json.dumps(told | {field: value}, sort_keys=True, separators=(",", ":"))
    found = Verifier(is_signed).verify([*LINES[:at], edited, *LINES[at + 1 :]]).fault
    assert (found is None) is kept
    assert kept or (found is not None and found.line in {at + 1, at + 2})


@QUICK
@given(st.integers(0, COUNT - 1), st.sampled_from(FIELDS), VALUES)
def test_an_edit_with_its_own_hash_mended_is_found(at: int, field: str, value: object) -> None:
    """As somebody does who can write to the database, and hashes, but has not the key."""
    told = json.loads(LINES[at])
    edited = told | {field: value}
    try:
        entry = parse_entry(json.dumps(edited, sort_keys=True, separators=(",", ":")))
    except ValueError:
        return
    mended = replace(entry, hash=entry_hash(entry))
    lines = [*LINES[:at], entry_line(mended), *LINES[at + 1 :]]
    assert (Verifier(is_signed).verify(lines).fault is None) is (mended == ENTRIES[at])


@QUICK
@given(st.integers(0, len(LINES) - 1))
def test_any_deletion_is_found(at: int) -> None:
    lines = [*LINES[:at], *LINES[at + 1 :]]
    found = Verifier(is_signed).verify(lines)
    assert found.fault is not None if at < COUNT else found.head is None


@QUICK
@given(st.integers(0, COUNT - 1), st.integers(0, COUNT - 1))
def test_any_swap_is_found_and_the_first_bad_entry_named(one: int, other: int) -> None:
    lines = list(LINES)
    lines[one], lines[other] = lines[other], lines[one]
    # The first entry may be where an older one was pruned: then the head tells.
    bad = None if one == other else ENTRIES[max(one, other)].sequence
    named = first_bad(lines)
    assert named == bad if bad is None or min(one, other) else named is not None


@QUICK
@given(st.integers(0, COUNT - 1), st.integers(0, COUNT))
def test_any_duplicate_is_found(copied: int, to: int) -> None:
    lines = [*LINES[:to], LINES[copied], *LINES[to:]]
    assert first_bad(lines) is not None


@QUICK
@given(st.integers(0, COUNT - 1), st.data())
def test_any_change_of_any_byte_is_found(at: int, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(LINES[at]) - 1))
    char = data.draw(st.characters(codec="utf-8").filter(lambda char: char != LINES[at][place]))
    edited = LINES[at][:place] + char + LINES[at][place + 1 :]
    assert Verifier(is_signed).verify([*LINES[:at], edited, *LINES[at + 1 :]]).fault is not None


@QUICK
@given(st.integers(1, COUNT - 1))
def test_a_cut_tail_with_an_old_head_is_found_by_a_checkpoint_alone(kept: int) -> None:
    """Somebody kept an older head: without a checkpoint that is as good as the log of then."""
    old = signed_head("acme", (1, NO_HASH), (kept, ENTRIES[kept - 1].hash), 1, SIGNER)
    lines = export(ENTRIES[:kept], old)
    assert Verifier(is_signed).verify(lines).fault is None
    checkpoint = Checkpoint(HEAD.sequence, HEAD.hash)
    found = Verifier(is_signed, checkpoints=[checkpoint]).verify(lines).fault
    assert found is not None
    assert found.sequence == HEAD.sequence
    assert "missing" in found.what


def test_a_history_that_was_written_anew_is_found_by_its_head_and_by_a_checkpoint() -> None:
    forged, _ = extended("acme", None, [facts(9 - number) for number in range(COUNT)], SIGNER)
    lines = [*(entry_line(entry) for entry in forged), head_line(HEAD)]
    found = Verifier(is_signed).verify(lines).fault
    assert found is not None
    assert "head" in found.what
    unsigned = replace(HEAD, hash=forged[-1].hash)
    lines[-1] = head_line(unsigned)
    assert Verifier().verify(lines).fault is None
    found = Verifier(is_signed).verify(lines).fault
    assert found is not None
    assert "not signed" in found.what
    found = Verifier(checkpoints=[Checkpoint(3, ENTRIES[2].hash)]).verify(lines).fault
    assert found is not None
    assert found.sequence == 3


def test_an_export_goes_on_from_where_the_last_one_ended() -> None:
    start = Checkpoint(3, ENTRIES[2].hash)
    assert Verifier(is_signed, start).verify(LINES[3:]).fault is None
    found = Verifier(is_signed, Checkpoint(3, NO_HASH)).verify(LINES[3:]).fault
    assert found is not None
    assert found.sequence == 4
    assert Verifier(is_signed, Checkpoint(COUNT, HEAD.hash)).verify(LINES[COUNT:]).fault is None


def test_exports_one_behind_the_other_are_one() -> None:
    _, middle = extended("acme", None, [facts(number) for number in range(3)], SIGNER)
    lines = [*LINES[:3], head_line(middle), *LINES[3:]]
    assert Verifier(is_signed).verify(lines).fault is None


def test_a_log_may_begin_behind_pruned_entries_where_its_head_says_so() -> None:
    shorter = signed_head("acme", (3, ENTRIES[1].hash), (COUNT, HEAD.hash), 1, SIGNER)
    assert Verifier(is_signed).verify([*LINES[2:COUNT], head_line(shorter)]).fault is None
    found = Verifier(is_signed).verify(LINES[2:]).fault
    assert found is not None
    assert "begins with entry 1" in found.what


def test_another_chains_entries_and_heads_do_not_fit() -> None:
    other, other_head = chain(COUNT, "rival")
    assert first_bad([*LINES[:2], entry_line(other[2])]) == 3
    assert first_bad([*LINES[:COUNT], head_line(other_head)]) == COUNT


def test_a_head_alone_misses_its_entries() -> None:
    found = Verifier(is_signed).verify([LINES[-1]])
    assert found.fault is not None
    assert found.chain is None
    assert "missing" in found.fault.what


def test_an_empty_export_is_sound_unless_a_checkpoint_says_otherwise() -> None:
    assert Verifier(is_signed).verify([]).fault is None
    assert Verifier(is_signed, checkpoints=[Checkpoint(1, NO_HASH)]).verify([]).fault is not None


NO_ENTRIES = {
    "no json": "{",
    "deep": "[" * 100_000,
    "list": "[]",
    "empty": "{}",
    "number": "1",
    "spaced": LINES[0].replace(":", ": ", 1),
    "twice": LINES[0].replace("{", '{"action":"read",', 1),
    "unknown": LINES[0].replace("{", '{"a":1,', 1),
    "float": LINES[0].replace('"count":1,', '"count":1.0,'),
    "true": LINES[0].replace('"count":1,', '"count":true,'),
    "null policies": LINES[0].replace('["one","two"]', "null"),
    "number in policies": LINES[0].replace('["one","two"]', '["one",2]'),
    "nan": LINES[0].replace('"count":1,', '"count":NaN,'),
}


@pytest.mark.parametrize("name", NO_ENTRIES)
def test_lines_that_are_no_entries_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_entry(NO_ENTRIES[name])
    found = Verifier().verify([NO_ENTRIES[name]]).fault
    assert found is not None
    assert (found.line, found.sequence) == (1, None)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda told: told | {"head": None},
        lambda told: told | {"more": 1},
        lambda told: told | {"head": told["head"] | {"sequence": True}},
        lambda told: told | {"head": told["head"] | {"hash": 1}},
        lambda told: told | {"head": {"sequence": 1}},
    ],
)
def test_lines_that_are_no_heads_are_refused(spoil: Callable[[dict], dict]) -> None:  # type: ignore[type-arg]
    line = json.dumps(spoil(json.loads(LINES[-1])), sort_keys=True, separators=(",", ":"))
    with pytest.raises(ValueError, match=r".+"):
        parse_head(line)


@QUICK
@given(st.sampled_from([field for field in asdict(HEAD) if field != "signature"]), VALUES)
def test_any_edit_of_a_head_is_found(field: str, value: object) -> None:
    edited: AuditHead = replace(HEAD, **{field: value})  # type: ignore[arg-type]
    found = Verifier(is_signed).verify([*LINES[:-1], head_line_of(edited)])
    assert (found.fault is None) is (head_line_of(edited) == head_line(HEAD))


def head_line_of(head: AuditHead) -> str:
    return json.dumps({"head": asdict(head), "v": 1}, sort_keys=True, separators=(",", ":"))


def test_a_writer_goes_on_from_a_sound_head_alone() -> None:
    tail = (HEAD.sequence, HEAD.hash)
    check_head("acme", HEAD, tail, SIGNER)
    check_head("acme", None, None, SIGNER)
    for head, found in (
        (HEAD, None),
        (HEAD, (HEAD.sequence + 1, HEAD.hash)),
        (HEAD, (HEAD.sequence, NO_HASH)),
        (None, tail),
        (replace(HEAD, chain="rival"), tail),
        (replace(HEAD, time_ms=1), tail),
        (replace(HEAD, public_key="no hex"), tail),
        (replace(HEAD, public_key="00" * 32), tail),
        (replace(HEAD, signature="00"), tail),
    ):
        with pytest.raises(StockadeError) as refused:
            check_head("acme", head, found, SIGNER)
        assert refused.value.code == "audit.chain_broken"


def test_texts_are_bounded_and_storable() -> None:
    assert bounded("a\0b\ud800" + "c" * 300) == "a\ufffdb?" + "c" * 252
    assert bounded_policies(["one", 2]) == ("one", "2")
    assert bounded_policies(None) == ()
    assert len(bounded_policies(["x"] * 100)) == 32
