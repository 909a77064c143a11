"""Databases (M14), through SQLAlchemy; a query never holds up the calls of a worker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self, TypeVar

from sqlalchemy import URL, Connection, CursorResult, create_engine, make_url, text
from sqlalchemy.exc import ArgumentError as UrlError
from sqlalchemy.exc import NoSuchModuleError, SQLAlchemyError

from media.session.callbacks import called

T = TypeVar("T")
Row = dict[str, Any]
BATCH = 100
"Rows fetched at once."


class DbhError(Exception):
    """A database refused something, or cannot be reached; the message is the database's."""


class Dbh:
    """A handle of one database connection; queries of one handle run one after the other, each in a thread.

    ``sqlite://name`` (or ``core:name``): a file ``name.db`` in :attr:`folder`; ``sqlite:////path``: any file;
    ``postgresql://user:password@host/name``: PostgreSQL (install strowger[postgresql]). Every statement is
    committed at once, as in Lua.

    :raises DbhError: for a name that is none of these.
    """

    folder: ClassVar[Path] = Path("db")
    "Where SQLite files are; made when the first is."

    def __init__(self, dsn: str, user: str = "", password: str = "") -> None:
        """Connects with the first use. ``user`` and ``password`` may also stand in ``dsn``."""
        self._url = _url(dsn, user, password, self.folder)
        self._connection: Connection | None = None
        self._released = False
        self._lock = asyncio.Lock()
        self._affected = 0
        # Connection and results live and die in one thread: sqlite3 does not bear two at once.
        self._thread = ThreadPoolExecutor(1, "dbh")
        self._result: CursorResult[Any] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.release()

    async def connected(self) -> bool:
        """Whether the database can be used; connects, where that was not done yet."""
        try:
            async with self._lock:
                await self._in_thread(self._run, "SELECT 1", None)
                await self._in_thread(self._close)
        except DbhError:
            return False
        return True

    async def query(
        self, sql: str, callback: Callable[[Row], Any] | None = None, parameters: Mapping[str, Any] | None = None
    ) -> bool:
        """Run a statement; with ``callback`` (may be a coroutine function) call it for each row, as a dict by column.

        A callback that returns a number other than 0 stops it. Values of callers belong into ``parameters``
        (``WHERE number = :number``), never into ``sql``.

        :raises DbhError: when the database refuses it.
        """
        async with self._lock:
            names = await self._in_thread(self._run, sql, parameters)
            try:
                if callback and names:
                    await self._rows(names, callback)
            finally:
                await self._in_thread(self._close)
        return True

    async def test_reactive(self, test: str, drop: str = "", reactive: str = "") -> bool:
        """Run ``test``; where that fails, ``drop`` (which may fail) and ``reactive``: to create a table.

        :raises DbhError: when ``reactive`` fails.
        """
        with suppress(DbhError):
            return await self.query(test)
        if drop:
            with suppress(DbhError):  # there may be nothing to drop
                await self.query(drop)
        return await self.query(reactive) if reactive else False

    def affected_rows(self) -> int:
        """Rows that the last INSERT, UPDATE or DELETE of this handle changed."""
        return self._affected

    async def release(self) -> bool:
        """Give the connection back; the handle is of no more use. False when that was done already."""
        async with self._lock:
            if self._released:
                return False
            await self._in_thread(self._end)
            self._released = True
            self._thread.shutdown(wait=False)
            return True

    async def _rows(self, names: list[str], callback: Callable[[Row], Any]) -> None:
        while rows := await self._in_thread(self._fetch):
            for row in rows:
                stop = await called(callback, dict(zip(names, row, strict=True)))
                if isinstance(stop, int | float) and stop:
                    return

    async def _in_thread(self, function: Callable[..., T], *args: Any) -> T:
        if self._released:
            raise DbhError("the handle was released")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, function, *args)
        except SQLAlchemyError as error:
            raise DbhError(str(getattr(error, "orig", None) or error)) from None

    # In the thread

    def _run(self, sql: str, parameters: Mapping[str, Any] | None) -> list[str]:
        """The columns of what comes; none where no rows come."""
        if self._connection is None:
            self._connection = _connect(self._url)
        # Without parameters no colon names one; text() also keeps "%" from being the driver's.
        statement = text(sql.replace(":", "\\:") if parameters is None else sql)
        self._result = self._connection.execute(statement, dict(parameters or {}))
        if self._result.returns_rows:
            return list(self._result.keys())
        self._affected = max(self._result.rowcount, 0)
        return []

    def _fetch(self) -> list[tuple[Any, ...]]:
        return [] if self._result is None else [tuple(row) for row in self._result.fetchmany(BATCH)]

    def _close(self) -> None:
        if self._result is not None:
            self._result.close()
            self._result = None

    def _end(self) -> None:
        self._close()
        if self._connection is not None:
            self._connection.close()
            self._connection.engine.dispose()
            self._connection = None


def _url(dsn: str, user: str, password: str, folder: Path) -> URL:
    if dsn.startswith("core:") or (dsn.startswith("sqlite:") and not dsn.startswith("sqlite:///")):
        name = dsn.partition(":")[2].removeprefix("//")
        if not name or "/" in name or name.startswith("."):
            raise DbhError(f"{dsn!r}: want the name of a database, as sqlite://my_db, or sqlite:////path/of/a.db")
        return URL.create("sqlite", database=str(folder / f"{name}.db"))
    if dsn.startswith("odbc:"):
        raise DbhError("odbc: name the database itself, as postgresql://user:password@host/name")
    try:
        url = make_url(dsn)
        if url.drivername in ("postgres", "postgresql"):
            url = url.set(drivername="postgresql+psycopg")
        url.get_dialect()
    except (UrlError, NoSuchModuleError):
        raise DbhError("a database is named sqlite://name or postgresql://user:password@host/name") from None
    return url.set(username=user or url.username, password=password or url.password)


def _connect(url: URL) -> Connection:
    if url.get_backend_name() == "sqlite" and url.database and url.database != ":memory:":
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    try:
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
    except ImportError as error:
        raise DbhError(f"{url.drivername}: {error}") from None
    return engine.connect()
