"""Call records as rows of a CSV file."""

from __future__ import annotations

from dataclasses import fields

from model import record_csv
from model.record import CallRecord, Outcome

RECORD = CallRecord(
    call="1a-1", node="edge-1", call_id="1@192.0.2.7", from_tag="t", trunk="office", caller="+442079460000",
    callee="+442079460001", route="home", version=7, emergency=False, outcome=Outcome.ANSWERED, refusal="", status=200,
    began=1795275100.8, answered=1795275103.9, ended=1795275163.2, duration=59.3, ended_by="caller", attempts=(),
    steps=(), limits=("trunk:office", "subscriber:1001"), relay="the caller is behind NAT", fraud="premium//office",
    media_node="fs-1", media_seconds=31.4, message="2001/20260131180000", recordings=("a.wav", "2026-01-31/b.wav"),
)  # fmt: skip
# What one row cannot hold, and a tag that nobody searches by.
LEFT_OUT = {"steps", "from_tag"}


def test_what_a_record_has_is_a_column() -> None:
    assert {field.name for field in fields(CallRecord)} - LEFT_OUT <= set(record_csv.COLUMNS)


def test_a_row() -> None:
    row = dict(zip(record_csv.COLUMNS, record_csv.row(RECORD), strict=True))
    assert (row["began"], row["duration"]) == ("2026-11-21T15:31:40.800Z", "59.300")
    assert (row["limits"], row["recordings"]) == ("trunk:office subscriber:1001", "a.wav 2026-01-31/b.wav")
    assert (row["relay"], row["fraud"]) == (RECORD.relay, RECORD.fraud)
    assert (row["media_node"], row["media_seconds"], row["message"]) == ("fs-1", "31.400", RECORD.message)
