"""Databases of call scripts on a PostgreSQL of its own."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from console.ports import free_port
from media.session import Dbh, DbhError

FOLDERS = ("/usr/local/bin", *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)))
PATH = os.pathsep.join((os.environ.get("PATH", ""), *FOLDERS))


def as_user(home: Path) -> list[str]:
    """PostgreSQL refuses root."""
    if os.geteuid():
        return []
    user = pwd.getpwnam("nobody")
    os.chown(home, user.pw_uid, user.pw_gid)
    for parent in home.parents:
        if str(parent).startswith("/tmp/"):
            parent.chmod(parent.stat().st_mode | 0o011)
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    initdb, postgres = shutil.which("initdb", path=PATH), shutil.which("postgres", path=PATH)
    if not initdb or not postgres:
        pytest.skip("no PostgreSQL")
    home = tmp_path_factory.mktemp("postgresql")
    run_as, data, port = as_user(home), home / "data", free_port()
    made = [*run_as, initdb, "-D", str(data), "-U", "strowger", "--auth=trust", "--no-sync"]
    subprocess.run(made, check=True, capture_output=True, cwd=home)
    serve = [*run_as, postgres, "-D", str(data), "-p", str(port), "-k", str(home), "-c", "fsync=off",
             "-c", "listen_addresses=127.0.0.1"]  # fmt: skip
    with (home / "log").open("wb") as log, subprocess.Popen(serve, stdout=log, stderr=log, cwd=home) as process:
        try:
            found = f"postgresql://strowger@127.0.0.1:{port}/postgres"
            asyncio.run(_up(found))
            yield found
        finally:
            process.terminate()


async def _up(url: str) -> None:
    for _ in range(300):
        async with Dbh(url) as dbh:
            if await dbh.connected():
                return
        await asyncio.sleep(0.1)
    raise AssertionError("PostgreSQL does not come up")


def test_the_example_of_the_reference(url: str) -> None:
    async def main() -> None:
        async with Dbh(url) as dbh:
            create = "CREATE TABLE my_table (id INTEGER, name VARCHAR(255))"
            await dbh.test_reactive("SELECT * FROM my_table", "DROP TABLE my_table", create)
            await dbh.query("INSERT INTO my_table VALUES('1'::int, '100 %s at 12:30')")
            await dbh.query("INSERT INTO my_table VALUES(:id, :name)", parameters={"id": 2, "name": "b'a%r: x"})
            rows: list[dict[str, Any]] = []
            await dbh.query("SELECT id, name FROM my_table ORDER BY id", rows.append)
            assert rows == [{"id": 1, "name": "100 %s at 12:30"}, {"id": 2, "name": "b'a%r: x"}]
            await dbh.query("UPDATE my_table SET name = 'changed'")
            assert dbh.affected_rows() == 2
            first: list[int] = []

            def stops(row: dict[str, Any]) -> int:
                first.append(row["id"])
                return 1

            await dbh.query("SELECT id FROM my_table ORDER BY id", stops)
            assert first == [1]
            with pytest.raises(DbhError, match="does not exist"):
                await dbh.query("SELECT * FROM missing")
            async with Dbh(url) as other:  # what was changed is committed
                seen: list[dict[str, Any]] = []
                await other.query("SELECT name FROM my_table", seen.append)
                assert [row["name"] for row in seen] == ["changed", "changed"]

    asyncio.run(main())


def test_two_handles_wait_side_by_side(url: str) -> None:
    async def main() -> None:
        done: list[str] = []

        async def sleeps(seconds: float, name: str) -> None:
            async with Dbh(url) as dbh:
                await dbh.query(f"SELECT pg_sleep({seconds})")
            done.append(name)

        await asyncio.gather(sleeps(1.5, "slow"), sleeps(0, "quick"))
        assert done == ["quick", "slow"]

    asyncio.run(main())


def test_a_server_that_is_not_there() -> None:
    async def main() -> None:
        async with Dbh(f"postgresql://nobody@127.0.0.1:{free_port()}/none") as dbh:
            assert not await dbh.connected()
            with pytest.raises(DbhError):
                await dbh.query("SELECT 1")

    asyncio.run(main())
