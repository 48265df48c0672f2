"""Where audit lines come from: files, a gateway, or the database itself."""

import asyncio
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from stockade.core.audit import AuditLog, HeadSigner
from stockade.core.audit_chain import entry_line, head_line, parse_entry
from stockade.core.errors import StockadeError

if TYPE_CHECKING:
    from stockade_client import Client

PAGE = 1000
_Value = TypeVar("_Value")


def lines_of_files(files: Sequence[Path]) -> Iterator[str]:
    """The lines of exports, one file behind the other."""
    for path in files:
        with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
            for line in file:
                yield line.removesuffix("\n")


def lines_of_gateway(client: "Client", after: int | None) -> Iterator[str]:
    """The tenant's log, page by page, up to its head."""
    while True:
        page = client.audit_lines(after=after, limit=PAGE)
        yield from page
        if len(page) != PAGE or page[-1].startswith('{"head":'):
            return
        after = _sequence(page[-1])


class DatabaseLogs:
    """All chains, read in the database by the operator, who has the key.

    Args:
        url: The catalog's.
        key_file: The audit key, which must be there.
    """

    def __init__(self, url: str, key_file: Path) -> None:
        if not key_file.is_file():
            raise StockadeError(
                "cli.audit_key_missing", f"There is no audit key in {str(key_file)!r}."
            )
        self._url = url
        self._key_file = key_file

    @contextmanager
    def opened(self) -> Iterator["OpenLogs"]:
        """The chains, to read inside."""
        from gateway.bootstrap import open_audit_log  # noqa: PLC0415 - keeps --help fast

        opening = open_audit_log(self._url, self._key_file)
        with asyncio.Runner() as runner:
            log, signer = runner.run(opening.__aenter__())
            try:
                yield OpenLogs(runner, log, signer)
            finally:
                runner.run(opening.__aexit__(None, None, None))


class OpenLogs:
    """Chains in an open database, page by page; `signer` can check their heads."""

    def __init__(self, runner: asyncio.Runner, log: AuditLog, signer: HeadSigner) -> None:
        self._runner = runner
        self._log = log
        self.signer = signer

    def chains(self) -> Sequence[str]:
        """The names of all."""
        return self._runner.run(_awaited(self._log.chains()))

    def lines(self, chain: str) -> Iterator[str]:
        """Every row, those behind the head too: they are somebody else's."""
        head, after = self._runner.run(_awaited(self._log.head(chain))), 0
        while page := self._runner.run(_awaited(self._log.walk(chain, after, PAGE))):
            yield from map(entry_line, page)
            after = page[-1].sequence
        if head is not None:
            yield head_line(head)


async def _awaited(asked: Awaitable[_Value]) -> _Value:
    return await asked


def _sequence(line: str) -> int:
    try:
        return parse_entry(line).sequence
    except ValueError as error:
        raise StockadeError(
            "cli.audit_line", f"The gateway sent a line that is no entry: {error}."
        ) from error
