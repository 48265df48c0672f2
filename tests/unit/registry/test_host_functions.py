from registry.module_reader import FunctionType, function_type
from stockade.core.host_functions import OFFERED, VARYING, WASI


def test_a_type_is_written_in_letters() -> None:
    assert function_type("il>i") == FunctionType(b"\x7f\x7e", b"\x7f")
    assert function_type(">") == FunctionType(b"", b"")


def test_only_offered_calls_vary() -> None:
    assert set(OFFERED) | set(WASI) >= VARYING
