"""Every event of our own logs has a static name: nothing of a caller's can become one."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

SOURCES = Path(__file__).parents[2] / "src"
LEVELS = {"debug", "info", "warning", "error", "critical", "exception"}
NAME = re.compile(r"[a-z][a-z0-9_.]*")
_Function = ast.FunctionDef | ast.AsyncFunctionDef


def events_of(tree: ast.Module) -> Iterator[tuple[int, str | None]]:
    """Line and name of each event that the module logs; None where the name is not static.

    A function's parameter is static where all calls in the module give a static text for it.
    """
    inside = {
        call: function
        for function in ast.walk(tree)
        if isinstance(function, _Function)
        for call in ast.walk(function)
    }
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and _is_logging(call.func):
            for name in _names(call.args[0] if call.args else None, tree, inside.get(call)):
                yield call.lineno, name


def _is_logging(called: ast.expr) -> bool:
    return (
        isinstance(called, ast.Attribute)
        and called.attr in LEVELS
        and "log" in ast.unparse(called.value).lower()
    )


def _names(
    event: ast.expr | None, tree: ast.Module, function: _Function | None
) -> Iterator[str | None]:
    if isinstance(event, ast.Constant) and isinstance(event.value, str):
        yield event.value
    elif function is not None and isinstance(event, ast.Name):
        parameters = [one.arg for one in function.args.args if one.arg != "self"]
        place = parameters.index(event.id)
        for call in ast.walk(tree):
            called = getattr(call, "func", None)
            if isinstance(call, ast.Call) and function.name in {
                getattr(called, "attr", ""),
                getattr(called, "id", ""),
            }:
                yield from _names(call.args[place], tree, None)
    else:
        yield None


def test_all_event_names_are_static() -> None:
    found = [
        (path.name, line, name)
        for path in SOURCES.rglob("*.py")
        for line, name in events_of(ast.parse(path.read_text(encoding="utf-8")))
    ]
    wrong = [one for one in found if one[2] is None or not NAME.fullmatch(one[2])]
    assert wrong == []
    assert len(found) > 40


def test_a_formatted_name_would_be_found() -> None:
    text = (
        '_log.info(f"run {name}")\n_log.info("a %s" % b)\n_log.info()\n'
        'def tell(event):\n    _log.error(event)\ntell(x)\ntell("static")\n'
    )
    assert [name for _line, name in events_of(ast.parse(text))] == [
        *(None, None, None),
        *(None, "static"),
    ]
