"""The engines that come with Strowger, each imported only where it is used, and own ones by ``module:Class``."""

from __future__ import annotations

import importlib
from typing import Any, cast

from media.transcription.engine import Engine, Missing

_OWN = {
    "pocketsphinx": "media.transcription.engines.pocketsphinx:Pocketsphinx",
    "vosk": "media.transcription.engines.vosk:Vosk",
    "faster-whisper": "media.transcription.engines.faster_whisper:FasterWhisper",
    "http": "media.transcription.engines.http:Http",
}
_EXTRAS = {"vosk": "vosk", "faster_whisper": "whisper"}


def name_of(setting: str) -> str:
    """The engine's name without its options, which may hold a password."""
    if setting.startswith(("http://", "https://")):
        return "http"
    head, _, rest = setting.partition(":")
    return head if head in _OWN else f"{head}:{rest.partition(':')[0]}"


def load(setting: str) -> Engine:
    """The engine that a setting names: ``pocketsphinx``, ``vosk:MODEL``, ``faster-whisper:MODEL``, the URL of a
    service, ``module:Class`` or ``module:Class:OPTIONS``; raises :class:`Missing`, and what the engine itself raises.
    """
    name = name_of(setting)
    options = setting if name == "http" else setting[len(name) :].removeprefix(":")
    module, _, attribute = _OWN.get(name, name).partition(":")
    if not module or not attribute:
        raise Missing(f"no engine {name.rstrip(':')}; there are {', '.join(_OWN)}, a URL, or module:Class")
    return cast(Engine, _made(module, attribute)(options))


def _made(module: str, attribute: str) -> Any:
    try:
        return getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get(error.name or "")
        how = f": pip install 'strowger[{extra}]'" if extra else ""
        raise Missing(f"the package {error.name} is not installed{how}") from None
    except AttributeError:
        raise Missing(f"{module} has no {attribute}") from None
