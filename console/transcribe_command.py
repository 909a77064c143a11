"""``strowger transcribe``: what is said in a file, by the engine that messages are written down by."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Annotated

import typer

from console.output import BAD_INPUT, FAILED, CommandFailed, Json, print_json
from media.transcription.checking import plain
from media.transcription.engine import Transcript, TranscriptionError
from media.transcription.transcriber import Transcriber
from model.settings import Settings


def transcribe(
    file: Annotated[Path, typer.Argument(help="WAV: 8 to 48 kHz, mono or stereo, 16-bit PCM, μ-law or A-law.")],
    engine: Annotated[str, typer.Option(help="As STROWGER_TRANSCRIBER; default: what that says.")] = "",
    language: Annotated[str, typer.Option(help="What is spoken, as a BCP 47 tag.")] = "en",
    json: Json = False,
) -> None:
    """Write down what is said in a file; with --json its words too, with their seconds and confidence."""
    settings = Settings.from_env()
    began = time.monotonic()
    transcript = asyncio.run(_transcribed(settings, engine or settings.transcriber, file, language))
    if json:
        print_json(plain(transcript) | {"seconds": round(time.monotonic() - began, 3)})
    else:
        typer.echo(transcript.text)


async def _transcribed(settings: Settings, engine: str, file: Path, language: str) -> Transcript:
    transcriber = Transcriber(engine, seconds=settings.transcribe_limit, megabytes=settings.transcribe_memory)
    try:
        return await transcriber.transcribe(file, language)
    except TranscriptionError as error:
        status = BAD_INPUT if error.reason == "refused" else FAILED
        raise CommandFailed(f"{file}: {error}", status) from None
    finally:
        await transcriber.aclose()
