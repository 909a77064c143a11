"""Everything that registers applications and commands, imported; what the switch can do, by name."""

from __future__ import annotations

from devswitch import (  # noqa: F401
    api_call,
    api_channel,
    api_text,
    apps_audio,
    apps_call,
    apps_variables,
    apps_web,
    bridging,
    esl_commands,
    recording,
    saying,
    socket_app,
)
from devswitch.events import FIRED
from devswitch.registry import APPS, COMMANDS

APPLICATIONS = tuple(sorted(APPS))
API_COMMANDS = tuple(sorted(COMMANDS))
ESL_COMMANDS = tuple(sorted(esl_commands.COMMANDS))
EVENTS = tuple(sorted(FIRED))
