"""What is made and checked before Kamailio starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from console import serve
from model.settings import SettingError, Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    directories = {"STROWGER_RUN": str(tmp_path / "run"), "STROWGER_SPOOL": str(tmp_path / "spool")}
    keys = {
        "STROWGER_SECRET_FILE": str(tmp_path / "state" / "secret"),
        "STROWGER_MEDIA_SECRET_FILE": str(tmp_path / "media" / "secret"),
    }
    return Settings.from_env({**directories, **keys})


def test_a_key_is_made_once_and_for_nobody_else(settings: Settings) -> None:
    serve.prepare(settings)
    key = settings.secret_file.read_bytes()
    assert len(key) == serve.SECRET_SIZE
    assert settings.secret_file.stat().st_mode & 0o777 == 0o600
    assert list(settings.secret_file.parent.iterdir()) == [settings.secret_file]
    serve.prepare(settings)
    assert settings.secret_file.read_bytes() == key


def test_media_have_a_key_of_their_own(settings: Settings) -> None:
    serve.prepare(settings)
    assert settings.media_secret_file.read_bytes() != settings.secret_file.read_bytes()
    assert settings.media_secret_file.stat().st_mode & 0o777 == 0o600
    settings.media_secret_file.write_bytes(b"short")
    with pytest.raises(SettingError, match="STROWGER_MEDIA_SECRET_FILE: .*/secret has 5 bytes"):
        serve.prepare(settings)


@pytest.mark.parametrize("size", [0, serve.SECRET_SIZE - 1])
def test_a_key_that_is_too_short_is_refused(settings: Settings, size: int) -> None:
    settings.secret_file.parent.mkdir()
    settings.secret_file.write_bytes(bytes(size))
    with pytest.raises(SettingError, match=f"STROWGER_SECRET_FILE: .*/secret has {size} bytes"):
        serve.prepare(settings)


def test_a_key_that_cannot_be_read_is_named(settings: Settings) -> None:
    settings.secret_file.mkdir(parents=True)
    with pytest.raises(OSError, match="/secret"):
        serve.prepare(settings)
