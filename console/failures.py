"""What a failure of a command says to whoever called it, as its exit status."""

from __future__ import annotations

from console.output import BAD_INPUT, FAILED
from kemi.explain import FailureSpecError
from kemi.rpc import RpcError
from media.control import ControlError
from media.speech.errors import SpeechError
from media.voicemail.errors import BadBoxError, BadPinError, DamagedBoxError, VoicemailError
from model.entries import EntryError
from model.secrets import SecretError
from model.settings import SettingError
from model.subscriber import SubscriberError
from operations.errors import InvalidError, OperationError
from policyfile import PolicyFileError
from state.store import StoreError

_BAD_INPUT = (
    BadBoxError, BadPinError, PolicyFileError, EntryError, FailureSpecError, SecretError, SettingError,
    SubscriberError, InvalidError,
)  # fmt: skip
_FAILED = (StoreError, RpcError, ControlError, SpeechError, VoicemailError, OperationError, OSError)


def status_of(error: Exception) -> int | None:
    """The exit status of a command that raised ``error``; None: nobody foresaw it."""
    if isinstance(error, DamagedBoxError):
        return FAILED
    if isinstance(error, _BAD_INPUT):
        return BAD_INPUT
    return FAILED if isinstance(error, _FAILED) else None
