from registry.host_imports import OFFERED, RESERVED, WASI, function_type
from registry.module_reader import FunctionType
from sandbox_worker.guest.wasi_types import WASI_FUNCTIONS


def test_a_type_is_written_in_letters() -> None:
    assert function_type("il>i") == FunctionType(b"\x7f\x7e", b"\x7f")
    assert function_type(">") == FunctionType(b"", b"")


def test_what_is_admitted_of_wasi_is_what_the_sandbox_answers() -> None:
    assert {name: tuple(types.split(">")) for name, types in WASI.items()} == WASI_FUNCTIONS


def test_no_host_call_is_both_offered_and_reserved() -> None:
    assert not RESERVED & set(OFFERED)
