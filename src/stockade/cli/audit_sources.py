"""Where audit lines come from: files, a gateway, or the database itself."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from stockade.core.audit import AuditLog, HeadSigner
from stockade.core.audit_chain import entry_line, head_line, parse_entry
from stockade.core.errors import StockadeError

if TYPE_CHECKING:
    from stockade_client import Client

PAGE = 1000


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

    def read(self, chain: str | None) -> tuple[dict[str, list[str]], HeadSigner]:
        """The lines of this chain or of all, and whoever can check their heads."""
        return asyncio.run(self._read(chain))

    async def _read(self, chain: str | None) -> tuple[dict[str, list[str]], HeadSigner]:
        async with self._opened() as (log, signer):
            chains = await log.chains() if chain is None else [chain]
            return {name: await _all_lines(log, name) for name in chains}, signer

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[tuple[AuditLog, HeadSigner]]:
        from gateway.bootstrap import open_audit_log  # noqa: PLC0415 - keeps --help fast

        async with open_audit_log(self._url, self._key_file) as opened:
            yield opened


async def _all_lines(log: AuditLog, chain: str) -> list[str]:
    """Every row, those behind the head too: they are somebody else's."""
    lines: list[str] = []
    head, after = await log.head(chain), 0
    while page := await log.walk(chain, after, PAGE):
        lines += map(entry_line, page)
        after = page[-1].sequence
    return lines if head is None else [*lines, head_line(head)]


def _sequence(line: str) -> int:
    try:
        return parse_entry(line).sequence
    except ValueError as error:
        raise StockadeError(
            "cli.audit_line", f"The gateway sent a line that is no entry: {error}."
        ) from error
