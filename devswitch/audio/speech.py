"""Speech by flite or espeak-ng, whichever is installed, in a process of its own."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path

from devswitch.audio import wav
from devswitch.audio.wav import AudioError
from devswitch.leg import Frame

TIMEOUT = 30.0
"Seconds that an engine may take."
DEFAULT_VOICE = "slt"
# Voices of mod_flite, and what of espeak-ng is like them.
VOICES = {"slt": "en-us+f3", "rms": "en-us+m3", "kal": "en-us", "kal16": "en-us", "awb": "en-gb-scotland"}
ENGINES = ("flite", "espeak-ng")


async def speak(text: str, *, engine: str = "flite", voice: str = DEFAULT_VOICE) -> Frame:
    """The samples of a spoken text; an engine or voice that is not there falls to one that is.

    Raises :class:`AudioError`.
    """
    found = _engine(engine)
    # By files: an argument would show the text to every user of the machine.
    with tempfile.TemporaryDirectory(prefix="speech-") as folder:
        spoken, heard = Path(folder, "text"), Path(folder, "speech.wav")
        spoken.write_text(text, "utf-8")
        await _run(*_command(found, voice, spoken, heard))
        return await wav.load(heard)


def _engine(wanted: str) -> str:
    for engine in (wanted, *ENGINES):
        if engine in ENGINES and shutil.which(engine):
            return engine
    raise AudioError(f"no speech engine is installed: one of {', '.join(ENGINES)} is needed")


def _command(engine: str, voice: str, spoken: Path, heard: Path) -> list[str]:
    name = voice.lower() if voice.lower() in VOICES else DEFAULT_VOICE
    if engine == "flite":
        return ["flite", "-voice", name, "-f", str(spoken), "-o", str(heard)]
    return ["espeak-ng", "-v", VOICES[name], "-f", str(spoken), "-w", str(heard)]


async def _run(*command: str) -> None:
    nowhere = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*command, stdin=nowhere, stdout=nowhere, stderr=nowhere)
    try:
        status = await asyncio.wait_for(process.wait(), TIMEOUT)
    except TimeoutError:
        raise AudioError(f"{command[0]} took more than {TIMEOUT:.0f} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if status:
        raise AudioError(f"{command[0]} ended with status {status}")
