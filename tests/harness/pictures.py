"""Pictures of each page of the console for the documentation, with real calls behind: ``tools/console-pictures``.

It also tells when each page first showed something, and fails where that took a second or more.
"""

from __future__ import annotations

import struct
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import policyfile
from console.ports import free_port
from console.sipp import place_calls, render
from harness.console import NARROW, Console, browsing, first_paint
from harness.digest_phone import DigestPhone
from harness.mailbox import make_sounds
from harness.media_worker import running
from harness.node import SCENARIOS, Node
from harness.site import MEDIA, Site, site
from harness.switches import Embedded
from harness.voicemail import write_audio
from media.voicemail.store import Box
from media.voicemail.store import Store as Mailboxes
from model.entries import Entry, Kind
from model.policy import Drain
from model.subscriber import Forwards, Subscriber, hashes
from state import records, tokens
from state.tokens import Role

PAINT_MAX = 1.0
"Seconds until something is seen."
LOOKS: Mapping[str, Mapping[str, object]] = {
    "light": {"size": (1180, 760)}, "dark": {"size": (1180, 760), "dark": True}, "narrow": {"size": NARROW},
}  # fmt: skip
POLICY = """\
# Two carriers; the first is cheaper, and often full.
strowger: 1

dialling_plans:
  gb: {{country_code: "44", international_prefixes: ["00"], national_prefix: "0"}}
default_dialling: gb

trunks:
  office:
    sources: [127.0.0.0/8]

gateways:
  north-tel:
    address: 127.0.0.1:{full}
    breaker: off
  interlink:
    address: 127.0.0.1:{good}
  old-carrier:
    address: 127.0.0.1:{dead}
    no_reply: 500ms

subscribers:
  realm: phones.example

fraud:
  far-away:
    per: caller
    prefixes: ["+371"]
    calls: {{warn: 3, block: 5}}

routes:
  - name: phones
    prefixes: ["1"]
    subscribers: true

  - name: uk
    prefixes: ["+44"]
    gateways: [north-tel, interlink]
    post_dial_delay: 12s

  - name: uk-premium
    prefixes: ["+44909"]
    reject: {{id: premium-barred, status: 403, phrase: Premium Numbers Barred, cause: 21}}

  - name: france
    prefixes: ["+33"]
    gateways: [old-carrier, interlink]

  - name: baltics
    prefixes: ["+371"]
    gateways: [interlink]
"""
LOT = 20.0
"Seconds of calls that are begun together."
GUARDED = (("2044", 5), ("1002", 3))
"Who calls far away, and how often: the first is refused from then on."
PHONES = (
    # Name, settings, kind of a phone that is registered.
    ("1001", {"numbers": ("+442079461001",), "forwards": Forwards(busy="1002")}, "Snom D785/10.1.198.19"),
    ("1002", {"numbers": ("+442079461002",), "do_not_disturb": True}, "Grandstream GXP2170"),
    ("1003", {"forwards": Forwards(always="+447700900321")}, ""),
    ("1004", {"enabled": False}, ""),
)  # fmt: skip
REALM = "phones.example"
SAID = "please call me back before noon"
CALLS = (
    # Scenario, words in it, callee, calls a second, talk in milliseconds.
    ("uac-expect-answer.xml", {}, "02079460018", 1.1, 14_000),
    ("uac-expect-answer.xml", {}, "02079460142", 0.7, 5_000),
    ("uac-expect-answer.xml", {}, "0033199000000", 0.2, 9_000),
    ("uac-expect-STATUS.xml", {"STATUS": "403", "REASON": "SIP/2.0"}, "09091234567", 0.25, 0),
)


def main() -> None:
    """``OUTPUT [SECONDS]``: where the pictures go, and for how long calls are placed before."""
    output, seconds = Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 60.0
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as last:
        place = _site(Path(scratch), last)
        node = place.node
        _prepare(node)
        _guarded(node)
        for phone in _registered(node):
            last.enter_context(phone)
        enough = threading.Event()
        calling = [threading.Thread(target=_call, args=(node, enough, *call)) for call in CALLS]
        for thread in calling:
            thread.start()
        # Before the node is closed.
        last.callback(lambda: [thread.join() for thread in calling])
        last.callback(enough.set)
        time.sleep(seconds)
        with browsing() as browser:
            console = Console(browser, node.store, f"http://{node.stack.settings.web_address}")
            painted = _pictures(console, output)
    for page, took in painted.items():
        print(f"{page:<12} first paint after {took * 1000:4.0f} ms")
    slow = {page: took for page, took in painted.items() if took >= PAINT_MAX}
    sys.exit(f"too slow: {', '.join(slow)}" if slow else 0)


def _site(scratch: Path, last: ExitStack) -> Site:
    """A node with a switch, a media worker and a voicemail service, all at work."""
    (scratch / "switch").mkdir()
    switch = last.enter_context(contextmanager(running)(Embedded, scratch / "switch", address=MEDIA))
    more = {"name": "edge-1", "STROWGER_SIP_WORKERS": "1"}
    place = last.enter_context(site(switch, scratch, sounds=make_sounds(scratch / "sounds"), **more))
    place.node.stack.web = True
    place.start()
    return place


def _guarded(node: Node) -> None:
    """Calls until a guard refuses somebody, and warns of somebody else."""
    for caller, calls in GUARDED:
        directory = Path(tempfile.mkdtemp(dir=node.directory))
        place_calls(
            render(SCENARIOS / "uac-expect-answer.xml", directory), server=node.sip, port=free_port(),
            directory=directory, rate=5, talk=500, keys={"caller": caller, "callee": "0037167000000"}, calls=calls,
        )  # fmt: skip


def _registered(node: Node) -> Iterator[DigestPhone]:
    for name, settings, kind in PHONES:
        one = Subscriber(name=name, realm=REALM, ha1=hashes(name, REALM, f"secret-of-{name}"), created=time.time())
        change = node.store.acting_as("cli:anna").put_subscriber(replace(one, **settings), None)  # type: ignore[arg-type]
        node.confirmed(change)
        if kind:
            phone = DigestPhone(node.sip, name, f"secret-of-{name}", algorithm="MD5", user_agent=kind)
            phone.register()
            yield phone


def _prepare(node: Node) -> None:
    store, now = node.store, time.time()
    full, good, dead = node.refusing(503), node.answering(), free_port()
    whole = POLICY.format(full=full.port, good=good.port, dead=dead)
    first = whole.replace("[old-carrier, interlink]", "[old-carrier]")
    for expected, (text, message) in enumerate(((first, "first policy"), (whole, "a second way to France"))):
        loaded = policyfile.load(text, name="policy")
        who = store.acting_as("cli:anna")
        change = who.apply(
            text=text, policy=loaded.policy, routes=loaded.routes, expected=expected, author="anna", message=message
        )
        node.confirmed(change)
    for index, reason in enumerate(("nuisance calls", "complaint 4711", "scanner")):
        entry = Entry(Kind.CALLER, f"+4477009006{index:02}", reason=reason, created=now, expires=now + 86400 * index)
        node.confirmed(store.acting_as("token:night shift").put(entry))
    node.confirmed(store.acting_as("cli:anna").drain(Drain("old-carrier", reason="new SBC", author="anna", since=now)))
    for name, role, lasting in (("night shift", Role.OPERATE, 0), ("billing", Role.READ, 90 * 86400)):
        tokens.make(store.acting_as("cli:anna"), name, role, now + lasting if lasting else 0.0)
    boxes = Mailboxes(node.stack.settings.voicemail)
    boxes.put_box(Box(number="1001", name="Anna Berg", min_seconds=1), new=True)
    recording = boxes.begin("1001", caller="+442079460123")
    write_audio(recording.audio)
    left = recording.accept()
    words = [{"word": word, "start": at * 0.6, "end": at * 0.6 + 0.5, "confidence": 0.9}
             for at, word in enumerate(SAID.split())]  # fmt: skip
    boxes.put_transcript("1001", left.id, {"state": "done", "text": SAID, "words": words})


def _call(
    node: Node, enough: threading.Event, scenario: str, words: dict[str, str], callee: str, rate: float, talk: int
) -> None:  # fmt: skip
    directory = Path(tempfile.mkdtemp(dir=node.directory))
    rendered = render(SCENARIOS / scenario, directory, **words)
    while not enough.is_set():
        # In small lots, so that none goes on for long when it is enough.
        place_calls(
            rendered, server=node.sip, port=free_port(), directory=directory, rate=rate, talk=talk,
            keys={"caller": "1001", "callee": callee}, calls=max(1, int(LOT * rate)),
        )  # fmt: skip


def _pictures(console: Console, output: Path) -> dict[str, float]:
    painted: dict[str, float] = {}
    for look, options in LOOKS.items():
        call = next(record.call for _, record in records.newest(console.store) if len(record.attempts) > 1)
        pages = {
            "overview": "/", "calls": "/calls", "past": "/calls/past", "call": f"/calls/one?call={call}",
            "explain": "/explain?callee=02079460018&caller=1001&fail=north-tel=503,q850=34", "policy": "/policy",
            "history": "/policy/version?version=2", "gateways": "/gateways", "lists": "/lists/block",
            "subscribers": "/subscribers", "subscriber": "/subscribers/one?name=1001", "tokens": "/tokens",
            "voicemail": "/voicemail/box?number=1001", "fraud": "/fraud", "nodes": "/nodes", "audit": "/audit",
        }  # fmt: skip
        with console.opened("/", **options) as watched:  # type: ignore[arg-type]
            for name, path in pages.items():
                watched.page.goto(path)
                watched.page.wait_for_load_state("load")
                assert not watched.faults, (name, watched.faults, watched.page.inner_text("main")[:300])
                painted[name] = max(painted.get(name, 0.0), first_paint(watched.page))
                _touch(name, watched.page)
                (output / f"{name}-{look}.png").write_bytes(smaller(watched.page.screenshot(animations="disabled")))
        with console.blank(**options) as watched:  # type: ignore[arg-type]
            watched.page.goto("/login")
            (output / f"login-{look}.png").write_bytes(smaller(watched.page.screenshot()))
    return painted


def _touch(name: str, page: object) -> None:
    """What shows a page at its work."""
    from playwright.sync_api import Page

    assert isinstance(page, Page)
    if name == "calls":
        page.locator("tr.call-way summary").first.click()
    elif name == "policy":
        text = page.get_by_label("Policy (YAML)")
        text.fill(text.input_value().replace("[north-tel, interlink]", "[northtel, interlink]"))
        page.locator("#check .bad").wait_for()
        page.locator(".goto").first.click()
    elif name == "voicemail" and page.locator("#list tbody a").count():
        page.locator("#list tbody a").first.click()
        page.wait_for_load_state("load")


def smaller(png: bytes) -> bytes:
    """A picture with 256 colours at most: what a page has that is more is smoothed edges."""
    pixels = _decoded(png)
    height, width = pixels.shape[:2]
    whole = pixels.astype(np.uint32)
    packed = (whole[..., 0] << 16) | (whole[..., 1] << 8) | whole[..., 2]
    colours, inverse, counts = np.unique(packed, return_inverse=True, return_counts=True)
    kept = np.sort(colours[np.argsort(counts)[::-1][:256]])
    apart = [(((colours >> shift) & 255).astype(int)[:, None] - ((kept >> shift) & 255).astype(int)) ** 2
             for shift in (16, 8, 0)]  # fmt: skip
    nearest = np.argmin(sum(apart), axis=1).astype(np.uint8)
    rows = nearest[inverse].reshape(height, width)
    lines = b"".join(b"\0" + row.tobytes() for row in rows)
    palette = b"".join(struct.pack(">I", int(colour))[1:] for colour in kept)
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    parts = (b"IHDR", header), (b"PLTE", palette), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in parts)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _decoded(png: bytes) -> NDArray[np.uint8]:
    """The pixels of a picture as Chromium writes them: 8 bits, RGB or RGBA, not interlaced (RFC 2083)."""
    at, data, width, height, channels = 8, b"", 0, 0, 3
    while at < len(png):
        length, name = struct.unpack(">I4s", png[at : at + 8])
        part = png[at + 8 : at + 8 + length]
        if name == b"IHDR":
            width, height, _, kind = struct.unpack(">IIBB", part[:10])
            channels = {2: 3, 6: 4}[kind]
        elif name == b"IDAT":
            data += part
        at += length + 12
    raw = np.frombuffer(zlib.decompress(data), np.uint8).reshape(height, 1 + width * channels)
    rows = np.zeros((height + 1, width * channels), np.uint8)
    for index in range(height):
        rows[index + 1] = _unfiltered(int(raw[index, 0]), raw[index, 1:], rows[index], channels)
    return rows[1:].reshape(height, width, channels)


def _unfiltered(kind: int, line: NDArray[np.uint8], above: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    if kind in (0, 2):
        return line + (above if kind == 2 else 0)
    if kind == 1:
        return np.cumsum(line.reshape(-1, channels), axis=0, dtype=np.uint8).reshape(-1)
    done, up, found = line.tolist(), above.tolist(), [0] * len(line)
    for x, value in enumerate(done):
        left, corner = (found[x - channels], up[x - channels]) if x >= channels else (0, 0)
        guess = (left + up[x]) // 2 if kind == 3 else _paeth(left, up[x], corner)
        found[x] = (value + guess) & 255
    return np.array(found, np.uint8)


def _paeth(left: int, up: int, corner: int) -> int:
    guess = left + up - corner
    return min((abs(guess - left), 0, left), (abs(guess - up), 1, up), (abs(guess - corner), 2, corner))[2]


if __name__ == "__main__":
    main()
