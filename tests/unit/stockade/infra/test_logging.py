import json
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import pytest
import structlog

from stockade.core.log_context import Work, works_on
from stockade.infra.logging import configure_logging, drop_private

Lines = Callable[[], list[dict[str, object]]]


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Iterator[Lines]:
    """Reads what came out, and restores later what `configure_logging` changes for all."""
    root = logging.getLogger()
    before, hook = (root.handlers[:], root.level), sys.excepthook
    uvicorn = logging.getLogger("uvicorn")
    uvicorn.addHandler(logging.NullHandler())
    uvicorn.propagate = False
    yield lambda: [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
    root.handlers[:], root.level = before
    for name in ("gateway", "registry", "sandbox_worker", "stockade"):
        logging.getLogger(name).setLevel(logging.NOTSET)
    sys.excepthook = hook
    works_on(Work())


def test_an_event_is_one_json_line_on_stderr(lines: Lines) -> None:
    configure_logging("gateway", "info")
    structlog.get_logger().info("module.stored", digest="sha256:00", size_bytes=3)
    (line,) = lines()
    moment = datetime.fromisoformat(str(line.pop("time")))
    assert moment.utcoffset() == timedelta(0)
    assert line == {
        "event": "module.stored",
        "level": "info",
        "process": "gateway",
        "digest": "sha256:00",
        "size_bytes": 3,
    }


def test_text_of_many_lines_stays_one_line(lines: Lines) -> None:
    configure_logging("gateway", "info")
    structlog.get_logger().info("guest.said", detail='a\n{"event": "forged"}\u2028b')
    assert [line["event"] for line in lines()] == ["guest.said"]


def test_what_is_below_the_level_is_not_written(lines: Lines) -> None:
    configure_logging("gateway", "info")
    structlog.get_logger().debug("noise")
    logging.getLogger("library").debug("noise")
    assert lines() == []


def test_context_is_part_of_every_line(lines: Lines) -> None:
    configure_logging("gateway", "info")
    with structlog.contextvars.bound_contextvars(invocation="i-1"):
        structlog.get_logger().info("attempt.begun")
        logging.getLogger("library").warning("hello")
    assert [line["invocation"] for line in lines()] == ["i-1", "i-1"]


@pytest.mark.parametrize("name", ["uvicorn", "uvicorn.error", "uvicorn.access", "library"])
def test_a_librarys_message_is_an_event_named_after_it(lines: Lines, name: str) -> None:
    configure_logging("gateway", "info")
    logging.getLogger(name).warning("started on %s", 8080)
    (line,) = lines()
    assert (line["event"], line["message"]) == (name, "started on 8080")
    assert (line["level"], line["process"]) == ("warning", "gateway")


def test_a_python_warning_is_an_event_too(lines: Lines) -> None:
    configure_logging("gateway", "info")
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.warn("old", UserWarning, stacklevel=1)
    assert [line["event"] for line in lines()] == ["py.warnings"]


def test_an_exception_is_told_without_the_values_of_variables(lines: Lines) -> None:
    configure_logging("gateway", "info")

    def fail(hidden: str) -> None:
        raise ValueError(len(hidden))

    try:
        fail("hunter2")
    except ValueError:
        structlog.get_logger().exception("thing.failed")
        logging.getLogger("library").exception("failed")
    ours, theirs = lines()
    assert "hunter2" not in json.dumps([ours, theirs])
    assert "ValueError" in json.dumps(ours["exception"])
    assert "ValueError" in json.dumps(theirs["exception"])


def test_private_fields_are_dropped_whoever_logs_them(lines: Lines) -> None:
    configure_logging("gateway", "info")
    structlog.get_logger().info(
        "request.seen", body=b"hunter2", headers={"Authorization": "hunter2"}
    )
    with structlog.contextvars.bound_contextvars(**{"client-secret": "hunter2"}):
        logging.getLogger("library").warning("hello")
    ours, theirs = lines()
    assert "hunter2" not in json.dumps([ours, theirs])
    assert ours["headers"] == {}


@pytest.mark.parametrize(
    "name",
    [
        *("input", "output", "secret", "authorization", "body", "password", "INPUT"),
        *("Authorization", "request_body", "client-secret", "secretValue", "input_inline"),
        *("x-api-key", "set-cookie"),
    ],
)
@pytest.mark.parametrize("value", ["text", b"bytes", 7, None, {"a": 1}])
def test_a_private_name_is_dropped_at_any_depth(name: str, value: object) -> None:
    event = {name: value, "kept": 1, "deep": [{name: value, "kept": ({name: value},)}]}
    assert drop_private(None, "info", event) == {"kept": 1, "deep": [{"kept": [{}]}]}


def test_the_size_of_private_data_may_be_told() -> None:
    event = {"input_bytes": 7, "output_bytes": b"the output itself"}
    assert drop_private(None, "info", event) == {"input_bytes": 7}


def test_raw_bytes_are_told_by_their_size_alone() -> None:
    assert drop_private(None, "info", {"key": b"abc"}) == {"key": "<3 bytes>"}


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(KeyError):
        configure_logging("gateway", "loud")


TRACEPARENT = "00-" + "a1" * 16 + "-" + "b2" * 8 + "-01"


def test_lines_say_what_their_task_works_on(lines: Lines) -> None:
    configure_logging("worker", "info")
    works_on(Work("acme", "i-1", 2, TRACEPARENT))
    structlog.get_logger().info("attempt.begun")
    logging.getLogger("library").warning("hello")
    told = {"tenant": "acme", "invocation": "i-1", "attempt": 2, "trace_id": "a1" * 16}
    for line in lines():
        assert line.items() >= told.items()


def test_what_is_not_known_is_not_told_and_what_a_line_says_itself_stands(lines: Lines) -> None:
    configure_logging("worker", "info")
    works_on(Work("acme", traceparent="00-not-a-trace"))
    structlog.get_logger().info("executor.grown", tenant="rival")
    (line,) = lines()
    assert line["tenant"] == "rival"
    assert not {"invocation", "attempt", "trace_id"} & set(line)


def _fail(text: str) -> None:
    raise ValueError(text)


HOSTILE = [
    'a\r\n{"event": "forged"}',
    "\x1b[2J\x1b]0;title\x07",
    "\x9b31m\x7f\x00",
    "\u2028\u2029\x85\x0b\x0c\x1c",
    "\u202egnp.exe",
    '"}\n{"event":"forged","level":"info',
    "\ud800",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_forges_or_splits_a_line(
    capsys: pytest.CaptureFixture[str], lines: Lines, text: str
) -> None:
    configure_logging("gateway", "info")
    works_on(Work(text, text))
    structlog.get_logger().warning("thing.failed", detail=text, **{text: text})
    logging.getLogger("library").warning("said %s", text)
    try:
        _fail(text)
    except ValueError:
        structlog.get_logger().exception("thing.failed")
        logging.getLogger("library").exception(text)
    del lines
    written = capsys.readouterr().err
    assert all(" " <= letter <= "~" or letter == "\n" for letter in written)
    found = [json.loads(line)["event"] for line in written.splitlines()]
    assert found == ["thing.failed", "library", "thing.failed", "library"]


def test_long_values_are_cut(lines: Lines) -> None:
    configure_logging("gateway", "info")
    structlog.get_logger().warning("thing.failed", detail="x" * 5000, many=list(range(1000)))
    (line,) = lines()
    assert str(line["detail"]).endswith("x… 904 characters more")
    assert len(line["many"]) == 64  # type: ignore[arg-type]


def test_the_end_of_a_process_is_one_line_too(lines: Lines) -> None:
    configure_logging("worker", "info")
    try:
        _fail('gone\n{"event": "forged"}')
    except ValueError as error:
        sys.excepthook(ValueError, error, error.__traceback__)
    (line,) = lines()
    assert (line["event"], line["level"]) == ("process_failed", "critical")
    assert "ValueError" in json.dumps(line["exception"])


def test_what_libraries_say_for_their_own_debugging_is_never_written(lines: Lines) -> None:
    configure_logging("gateway", "debug")
    logging.getLogger("aiosqlite").debug("executing SELECT %s", "hunter2")
    logging.getLogger("gateway.app").debug("ours")
    assert [line["event"] for line in lines()] == ["gateway.app"]
