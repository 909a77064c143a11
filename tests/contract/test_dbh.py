"""M14: a database, asked while a call waits."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from harness.phone import Call
from harness.switches import Switch
from harness.talk import talk

from media.session import Dbh, DbhError, Session

CREATE = "CREATE TABLE my_table (id INTEGER(8), name VARCHAR(255))"
TEST, DROP = "SELECT * FROM my_table", "DROP TABLE my_table"


async def ends(call: Call) -> None:
    await call.ended()


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What ``sqlite://my_db`` is."""
    monkeypatch.setattr(Dbh, "folder", tmp_path)
    return tmp_path / "my_db.db"


def test_the_example_of_the_reference(switch: Switch, file: Path) -> None:
    rows: list[dict[str, object]] = []

    async def script(session: Session) -> None:
        dbh = Dbh("sqlite://my_db")
        assert await dbh.connected()
        await dbh.test_reactive(TEST, DROP, CREATE)
        await dbh.query("INSERT INTO my_table VALUES(1, 'foo')")
        await dbh.query("INSERT INTO my_table VALUES(2, 'bar')")
        await dbh.query("SELECT id, name FROM my_table", rows.append)
        await dbh.query("UPDATE my_table SET name = 'changed'")
        assert dbh.affected_rows() == 2
        assert await dbh.release()
        assert not await dbh.connected()

    talk(switch, script, ends)
    assert rows == [{"id": 1, "name": "foo"}, {"id": 2, "name": "bar"}]
    with sqlite3.connect(file) as database:
        assert database.execute("SELECT * FROM my_table").fetchall() == [(1, "changed"), (2, "changed")]
    database.close()


def test_a_callback_stops_the_rows_and_a_table_that_is_there_is_kept(switch: Switch, file: Path) -> None:
    seen: list[object] = []

    def first(row: dict[str, object]) -> int:
        seen.append(row["id"])
        return 1

    async def script(session: Session) -> None:
        async with Dbh("sqlite://my_db") as dbh:
            await dbh.query(CREATE)
            for number in (1, 2, 3):
                await dbh.query(
                    "INSERT INTO my_table VALUES(:id, :name)", parameters={"id": number, "name": "o'neil; --"}
                )
            await dbh.test_reactive(TEST, DROP, CREATE)
            await dbh.query("SELECT id FROM my_table ORDER BY id", first)
            with pytest.raises(DbhError):
                await dbh.query("SELECT nothing FROM nowhere")

    talk(switch, script, ends)
    assert seen == [1]
