"""E-mail and webhooks against real servers, with TLS, and what happens when they refuse."""

from __future__ import annotations

import hashlib
import hmac
import os
import ssl
import subprocess
from pathlib import Path

import pytest
from harness.voicemail import World, hook_server, mail_server, until, world

from media.voicemail.mail import encoder


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for localhost with its key in one file."""
    folder = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(folder / "key"), "-out", str(folder / "crt")]
    subprocess.run(command, check=True, capture_output=True)
    (folder / "both").write_text((folder / "key").read_text() + (folder / "crt").read_text())
    return folder / "both"


def server_side(certificate: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    return context


def settings(tmp_path: Path, certificate: Path) -> dict[str, str]:
    (tmp_path / "password").write_text("s3cret\n")
    return {
        "SSL_CERT_FILE": str(certificate),
        "STROWGER_SMTP_TLS": "starttls",
        "STROWGER_SMTP_USER": "strowger",
        "STROWGER_SMTP_PASSWORD_FILE": str(tmp_path / "password"),
        "STROWGER_MAIL_FROM": "voicemail@example.org",
    }


def by_name(place: World) -> str:
    return f"localhost:{place.settings.smtp.port}"


def test_mail_by_starttls_with_a_login(tmp_path: Path, certificate: Path) -> None:
    with world(tmp_path, **settings(tmp_path, certificate)) as place:
        place.put(email="box@example.org", transcribe=False)
        with mail_server(place.settings.smtp.port, server_side(certificate), login=True) as mailbox:
            place.serve(STROWGER_SMTP=by_name(place))
            message = place.leave()
            until(lambda: place.delivery(message, "mail") == "sent", "mailed")
    assert mailbox.secure == [True]
    assert mailbox.logins == [(b"strowger", b"s3cret")]
    assert "s3cret" not in place.log()


def test_a_certificate_that_nobody_vouches_for_gets_no_mail(tmp_path: Path, certificate: Path) -> None:
    told = settings(tmp_path, certificate)
    del told["SSL_CERT_FILE"]
    with world(tmp_path, **told) as place:
        place.put(email="box@example.org", transcribe=False)
        with mail_server(place.settings.smtp.port, server_side(certificate), login=True) as mailbox:
            first = place.serve(STROWGER_SMTP=by_name(place))
            message = place.leave()
            until(lambda: "mail not sent, try 1" in place.log(), "it was tried")
            assert not mailbox.logins
            first.kill()
            # It is tried again once somebody does.
            place.serve(STROWGER_SMTP=by_name(place), SSL_CERT_FILE=str(certificate))
            until(lambda: place.delivery(message, "mail") == "sent", "mailed")
    assert len(mailbox.mails) == 1


def test_mail_by_tls_from_the_first_byte(tmp_path: Path, certificate: Path) -> None:
    told = {**settings(tmp_path, certificate), "STROWGER_SMTP_TLS": "tls", "STROWGER_SMTP_USER": ""}
    with world(tmp_path, **told) as place:
        place.put(email="box@example.org", transcribe=False)
        with mail_server(place.settings.smtp.port, server_side(certificate), at_once=True) as mailbox:
            place.serve(STROWGER_SMTP=by_name(place))
            message = place.leave()
            until(lambda: place.delivery(message, "mail") == "sent", "mailed")
    # The server speaks nothing else.
    assert len(mailbox.mails) == 1


def test_a_mail_refused_for_ever_is_given_up_at_once_and_one_for_now_is_tried_again(tmp_path: Path) -> None:
    with world(tmp_path) as place, mail_server(place.settings.smtp.port) as mailbox:
        place.put(email="box@example.org", transcribe=False)
        place.serve()
        mailbox.answer = "554 5.7.1 no"
        refused = place.leave()
        until(lambda: place.delivery(refused, "mail") == "failed", "given up")
        told = place.store.message("1001", refused.id).delivery
        assert told
        assert told["mail"]["tries"] == 1
        assert "554 5.7.1 no" in told["mail"]["reason"]
        mailbox.answer = "451 4.3.0 later"
        later = place.leave()
        until(lambda: f"{later.id}: mail not sent, try 1" in place.log(), "it was tried")
        mailbox.answer = "250 OK"
        until(lambda: place.delivery(later, "mail") == "sent", "mailed")
    assert len(mailbox.mails) == 1
    assert mailbox.ids[0].startswith(f"<{later.id}.{later.sha256[:16]}@")


def test_a_service_killed_before_it_knows_that_its_mail_was_taken_sends_the_same_again(tmp_path: Path) -> None:
    with world(tmp_path) as place, mail_server(place.settings.smtp.port) as mailbox:
        place.put(email="box@example.org", transcribe=False)
        first = place.serve()
        mailbox.silent = True
        message = place.leave()
        until(lambda: mailbox.mails, "taken")
        first.kill()
        mailbox.silent = False
        place.serve()
        until(lambda: place.delivery(message, "mail") == "sent", "mailed again")
    assert len(mailbox.ids) == 2
    assert len(set(mailbox.ids)) == 1


def test_a_mailed_message_is_deleted_where_the_box_wants_it(tmp_path: Path) -> None:
    with world(tmp_path) as place, mail_server(place.settings.smtp.port):
        place.put(email="box@example.org", transcribe=False, delete_after_mail=True)
        place.serve()
        message = place.leave()
        until(lambda: place.store.where("1001", message.id) == "deleted", "deleted")
        assert place.delivery(message, "mail") == "sent"


@pytest.mark.skipif(encoder(Path("x")) is None, reason="no lame and no ffmpeg")
def test_mp3(tmp_path: Path) -> None:
    with world(tmp_path) as place, mail_server(place.settings.smtp.port) as mailbox:
        place.put(email="box@example.org", transcribe=False, mail_audio="mp3")
        place.serve()
        message = place.leave()
        until(lambda: place.delivery(message, "mail") == "sent", "mailed")
        _, audio = mailbox.mails[0].iter_parts()
    assert audio.get_content_type() == "audio/mpeg"
    # A frame's sync word (ISO 11172-3, section 2.4.2.3), maybe behind an ID3 tag.
    content = audio.get_content()
    assert b"\xff\xf3" in content[:4096] or b"\xff\xe3" in content[:4096]


def test_without_an_encoder_mail_has_wav(tmp_path: Path) -> None:
    with world(tmp_path) as place, mail_server(place.settings.smtp.port) as mailbox:
        place.put(email="box@example.org", transcribe=False, mail_audio="mp3")
        empty = tmp_path / "bin"
        empty.mkdir()
        place.serve(PATH=str(empty))
        message = place.leave()
        until(lambda: place.delivery(message, "mail") == "sent", "mailed")
        _, audio = mailbox.mails[0].iter_parts()
    assert audio.get_content_type() == "audio/wav"
    assert "no MP3 is made" in place.log()


def test_a_webhook_is_signed_and_tried_again_under_one_delivery(tmp_path: Path, certificate: Path) -> None:
    with world(tmp_path) as place, hook_server(server_side(certificate)) as hook:
        place.put(webhook=hook.url, webhook_secret="shared")
        hook.status = 500
        place.serve(SSL_CERT_FILE=str(certificate))
        message = place.leave()
        until(lambda: len(hook.requests) == 1, "told")
        hook.status = 200
        until(lambda: place.delivery(message, "webhook") == "sent", "told again")
        (first, _), (second, body) = hook.requests
    assert first["X-Strowger-Delivery"] == second["X-Strowger-Delivery"] == message.id
    signed = second["X-Strowger-Timestamp"].encode() + b"." + body
    assert second["X-Strowger-Signature"] == "sha256=" + hmac.new(b"shared", signed, hashlib.sha256).hexdigest()
    told = hook.bodies[1]
    assert (told["id"], told["box"], told["caller"]) == (message.id, "1001", "+442079460123")
    assert told["transcript"]["text"] == "hello there"
    assert "shared" not in place.log()


def test_a_webhook_is_not_led_elsewhere(tmp_path: Path) -> None:
    with world(tmp_path) as place, hook_server() as elsewhere, hook_server() as hook:
        place.put(webhook=hook.url, transcribe=False)
        hook.status, hook.location = 307, elsewhere.url
        place.serve()
        message = place.leave()
        until(lambda: f"{message.id}: webhook not sent, try 1" in place.log(), "it was tried")
        assert not elsewhere.requests


def test_a_certificate_that_nobody_vouches_for_is_told_nothing(tmp_path: Path, certificate: Path) -> None:
    with world(tmp_path) as place, hook_server(server_side(certificate)) as hook:
        place.put(webhook=hook.url, transcribe=False)
        place.serve(SSL_CERT_FILE=os.devnull)
        message = place.leave()
        until(lambda: f"{message.id}: webhook not sent, try 1" in place.log(), "it was tried")
        assert not hook.requests


def test_webhooks_that_hang_delay_neither_mail_nor_transcripts_nor_others(tmp_path: Path) -> None:
    with world(tmp_path) as place, hook_server() as hook, hook_server() as well, mail_server(place.settings.smtp.port):
        hook.hang = True
        place.put(webhook=hook.url, email="box@example.org")
        place.put(number="1002", webhook=well.url, transcribe=False)
        place.serve()
        messages = [place.leave() for _ in range(12)]
        until(lambda: len(hook.requests) == 2, "they hang")
        other = place.leave("1002")
        until(lambda: place.delivery(other, "webhook") == "sent", "the other box's was told")
        until(lambda: all(place.delivery(message, "mail") == "sent" for message in messages), "all are mailed")
        assert {place.delivery(message, "webhook") for message in messages} == {"", "trying"}
