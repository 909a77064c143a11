"""What may go wrong with mailboxes.

VoicemailError
├── BadBoxError (also a ValueError)     settings of a box that cannot be; names file and field
│   └── DamagedBoxError                  what stands in the file of a box
├── BadPinError (also a ValueError)     a PIN that is refused; says why, and not the PIN
├── NoSuchBoxError
├── NoSuchMessageError
├── DamagedMessageError                 what stands on the disk is no message; names the file
├── BoxExistsError
├── QuotaError                          the box is full
├── BadAudioError                       a file in which no audio can be found
└── NothingRecordedError                there is no audio to accept

What the disk refuses is an OSError.
"""

from __future__ import annotations


class VoicemailError(Exception):
    """Any of these; its text may be shown to who runs the system."""


class BadBoxError(VoicemailError, ValueError):
    """Settings of a box are wrong; the message names the file, where there is one, and the field."""


class DamagedBoxError(BadBoxError):
    """The file of a box cannot be read as settings."""


class BadPinError(VoicemailError, ValueError):
    """A PIN is too easy to guess, or no PIN."""


class NoSuchBoxError(VoicemailError):
    """There is no such box."""


class NoSuchMessageError(VoicemailError):
    """There is no such message in the box, or no longer."""


class DamagedMessageError(VoicemailError):
    """The disk holds something else than was written; the message names the file."""


class BoxExistsError(VoicemailError):
    """The box to be made is there already."""


class QuotaError(VoicemailError):
    """The box holds as much as it may."""


class BadAudioError(VoicemailError):
    """The file holds nothing that can be read as audio."""


class NothingRecordedError(VoicemailError):
    """Nothing was said, or the switch has written nothing of it."""
