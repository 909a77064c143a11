"""`strowger say`: what an engine makes of a text."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from console.output import out
from model.settings import Settings


def say(
    text: Annotated[str, typer.Argument(help="What is spoken.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The WAV file that is written.")],
    voice: Annotated[str, typer.Option(help="A voice of the engine; without: that of STROWGER_SPEECH_ENGINE.")] = "",
    engine: Annotated[str, typer.Option(help="flite, espeak-ng, a URL or module:Class instead of the setting's.")] = "",
    rate: Annotated[int, typer.Option(help="Samples a second: 8000 or 16000.")] = 8000,
) -> None:
    """Speak a text into a WAV file, as callers hear it; an engine that fails says why."""
    # Not for other commands: it costs more to load than all of these.
    from media.speech.cache import Cache
    from media.speech.engines import make_engine
    from media.speech.speech import Speech

    speaks, its_voice = make_engine(engine or Settings.from_env().speech_engine)
    # Of its own: who tries an engine out wants to hear it anew, and need not be let into the calls' cache.
    with tempfile.TemporaryDirectory(prefix="strowger-say-") as folder:
        speech = Speech(Cache(Path(folder)), speaks, its_voice)
        made = asyncio.run(speech.render(text, voice=voice, rate=rate))
        shutil.copyfile(made, output)
        seconds = (made.stat().st_size - 44) / 2 / rate
    out.print(f"{output}: {seconds:.1f} s by {speaks.name}")
