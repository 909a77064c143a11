"""Everything that registers applications and commands, imported; what the switch can do, by name."""

from __future__ import annotations

from devswitch.api import calls, channel, texts  # noqa: F401
from devswitch.apps import bridge, call, playback, recording, saying, variables, web  # noqa: F401
from devswitch.esl import commands, socket_app  # noqa: F401
from devswitch.events import FIRED
from devswitch.registry import APPS, COMMANDS

APPLICATIONS = tuple(sorted(APPS))
API_COMMANDS = tuple(sorted(COMMANDS))
ESL_COMMANDS = tuple(sorted(commands.COMMANDS))
EVENTS = tuple(sorted(FIRED))
