"""Secrets that a policy names."""

from __future__ import annotations

from pathlib import Path

import pytest

from model.secrets import SecretError, read_secret


def put(directory: Path, name: str, content: bytes, mode: int = 0o600) -> None:
    (directory / name).write_bytes(content)
    (directory / name).chmod(mode)


@pytest.mark.parametrize("content", [b"tell-nobody", b"tell-nobody\n", b"tell-nobody\r\nmore\n"])
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o400])
def test_a_secret_is_the_first_line_of_its_file(tmp_path: Path, content: bytes, mode: int) -> None:
    put(tmp_path, "carrier-a", content, mode)
    assert read_secret(tmp_path, "carrier-a") == "tell-nobody"


@pytest.mark.parametrize(
    ("name", "content", "mode", "said"),
    [
        ("world", b"tell-nobody", 0o604, "everybody"),
        ("writable", b"tell-nobody", 0o602, "everybody"),
        ("empty", b"\n", 0o600, "empty"),
        ("binary", b"tell-nobody\xff", 0o600, "UTF-8"),
    ],
)
def test_what_is_wrong_is_said_with_the_file_and_without_the_secret(
    tmp_path: Path, name: str, content: bytes, mode: int, said: str
) -> None:
    put(tmp_path, name, content, mode)
    with pytest.raises(SecretError, match=said) as caught:
        read_secret(tmp_path, name)
    assert str(tmp_path / name) in str(caught.value)
    assert "tell-nobody" not in str(caught.value)


def test_a_secret_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match="carrier-b: No such file"):
        read_secret(tmp_path, "carrier-b")


@pytest.mark.parametrize("name", ["", "../etc", "a/b", ".hidden", "a b", "x" * 65])
def test_no_name_leads_out_of_the_directory(tmp_path: Path, name: str) -> None:
    with pytest.raises(SecretError, match="no name of a secret"):
        read_secret(tmp_path, name)
