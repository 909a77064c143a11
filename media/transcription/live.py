"""What is said in a running call, written down while it is said.

The switch records each side of the call into a file, and the process of an engine follows it. Nothing of that is in the
way of the call: the worker touches no audio, and an engine that hangs or dies ends its captions and nothing else.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from media.esl.errors import EslError
from media.session import API, Event, Session
from media.transcription.checking import plain
from media.transcription.engine import Transcript, TranscriptionError
from media.transcription.frames import Kind
from media.transcription.process import Child, Limits
from model.settings import Settings

log = logging.getLogger(__name__)

Leg = Literal["caller", "callee"]
SUBCLASS = "strowger::transcript"
FINISH_LIMIT = 10.0
"Seconds that an engine has for the last words, after the end."
_SIDE = {"caller": "RECORD_READ_ONLY", "callee": "RECORD_WRITE_ONLY"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Caption:
    """Text of one side: of the utterance under way, or ``final``, the whole of it."""

    call: str
    "The channel's uuid."
    leg: Leg
    "caller: who is at the channel's end; callee: all that the channel is sent, prompts too."
    text: str
    final: bool
    transcript: Transcript | None = None
    "Of a final one; its seconds count from where the captions began."

    def plain(self) -> dict[str, Any]:
        """As JSON takes it."""
        words = plain(self.transcript) if self.transcript else {}
        return words | {"call": self.call, "leg": self.leg, "text": self.text}


Publish = Callable[[str, Mapping[str, Any]], Awaitable[object]]
"Takes ``transcript.partial`` or ``transcript.final``, and the caption as JSON."
Heard = Callable[[Caption], Awaitable[object]]


@asynccontextmanager
async def live(
    session: Session,
    heard: Heard | None = None,
    *,
    publish: Publish | None = None,
    legs: Sequence[Leg] = ("caller", "callee"),
    language: str = "en",
    settings: Settings | None = None,
) -> AsyncIterator[None]:
    """Captions of the call while the block runs; the call has to be answered, or have early media.

    Each goes to ``heard``, to ``publish``, and as the event CUSTOM ``strowger::transcript`` to the switch. What goes
    wrong is logged, and the block runs all the same.
    """
    settings = settings or Settings.from_env()
    captions: asyncio.Queue[Caption] = asyncio.Queue(1000)
    async with AsyncExitStack() as stack:
        teller = asyncio.create_task(_tell(captions, [_fire, *([heard] if heard else []), *_to(publish)]))
        stack.push_async_callback(_end, captions, teller)
        for leg in legs:
            side = _Side(session, leg, language, settings, captions)
            stack.push_async_callback(side.end)
            await side.begin()
        yield


class _Side:
    """One side of the call: its file, its engine, and who listens to that."""

    def __init__(
        self, session: Session, leg: Leg, language: str, settings: Settings, captions: asyncio.Queue[Caption]
    ) -> None:
        self._session, self._leg, self._language, self._settings = session, leg, language, settings
        self._captions = captions
        self._path = settings.voicemail / "live" / f"{secrets.token_hex(8)}.wav"
        self._child: Child | None = None
        self._listener: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        try:
            # The switch may be another user of the group.
            await asyncio.to_thread(_make_folder, self._path.parent)
            await self._record()
            limits = Limits(seconds=self._settings.transcribe_limit, megabytes=self._settings.transcribe_memory)
            self._child = await Child.start(self._settings.transcriber, limits)
            await self._child.tell(Kind.FOLLOW, path=str(self._path), language=self._language)
        except (OSError, EslError, TranscriptionError) as error:
            self._failed(error)
        else:
            self._listener = asyncio.create_task(self._listen(self._child))

    async def _record(self) -> None:
        # Their own variables, or those of a recording that runs beside would change (session_record_function of
        # mod_commands.c). Unbuffered: the switch would write every 64 kB.
        own = f"{{{_SIDE[self._leg]}=true,enable_file_write_buffering=false,RECORD_MIN_SEC=0}}"
        answer = await self._api("record", "start", self._path, 0, own)
        if not answer.startswith("+OK"):
            raise TranscriptionError("missing", f"the switch does not record: {answer.strip()}")

    async def _api(self, command: Literal["record"], *args: object) -> str:
        api = API(self._session.connection)
        return await api.uuid(command, self._session.uuid, *map(str, args))

    async def _listen(self, child: Child) -> None:
        try:
            await child.result(self._heard)
        except TranscriptionError as error:
            self._failed(error)

    def _heard(self, found: str | Transcript) -> None:
        final = found if isinstance(found, Transcript) else None
        text = final.text if final else str(found)
        caption = Caption(call=self._session.uuid, leg=self._leg, text=text, final=bool(final), transcript=final)
        # Of who listens too slowly nobody waits.
        with suppress(asyncio.QueueFull):
            self._captions.put_nowait(caption)

    async def end(self) -> None:
        """Stop the recording, wait a while for the last words, and end the engine."""
        try:
            async with asyncio.timeout(FINISH_LIMIT):
                with suppress(EslError):
                    await self._api("record", "stop", self._path)
                if self._child and self._listener:
                    await self._child.send(Kind.STOP)
                    await self._listener
        except TimeoutError:
            self._failed(TranscriptionError("timeout", "the last words are not there in time"))
        finally:
            if self._listener:
                self._listener.cancel()
            if self._child:
                await self._child.kill()
            _remove(self._path)

    def _failed(self, error: Exception) -> None:
        log.warning("call %s: no more captions of its %s: %s", self._session.uuid, self._leg, error)


def _make_folder(path: Path) -> None:
    with suppress(FileExistsError):
        path.mkdir(parents=True)
        # Not by mkdir's mode: of that, the umask takes away.
        path.chmod(0o2770)


def _remove(path: Path) -> None:
    # The engine's process does so when it opens it; this is for one that never came so far.
    with suppress(OSError):
        path.unlink(missing_ok=True)


async def _tell(captions: asyncio.Queue[Caption], all_of: Sequence[Heard]) -> None:
    while True:
        caption = await captions.get()
        for tell in all_of:
            try:
                await tell(caption)
            except Exception as error:  # of a script, or a switch that is gone: captions go on for the others
                log.warning("call %s: a caption was not told: %s", caption.call, type(error).__name__)
        captions.task_done()


async def _end(captions: asyncio.Queue[Caption], teller: asyncio.Task[None]) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(FINISH_LIMIT):
            await captions.join()
    teller.cancel()


async def _fire(caption: Caption) -> None:
    event = Event("CUSTOM", SUBCLASS)
    event.add_header("Transcript-Call", caption.call)
    event.add_header("Transcript-Leg", caption.leg)
    event.add_header("Transcript-Final", "true" if caption.final else "false")
    event.add_body(json.dumps(caption.plain()))
    await event.fire()


def _to(publish: Publish | None) -> list[Heard]:
    if publish is None:
        return []

    async def told(caption: Caption) -> None:
        await publish("transcript.final" if caption.final else "transcript.partial", caption.plain())

    return [told]
