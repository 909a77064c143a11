"""The menus of dial-in as tables: what each key does, and what is said of it. Pure.

The keys are those of Asterisk's Comedian Mail (vm_execmain of apps/app_voicemail.c), so that nobody has to learn new
ones. Keys work everywhere: whoever knows them need not wait for the words.
"""

from __future__ import annotations

from collections.abc import Iterable

from media.voicemail.layout import Folder

FOLDERS: dict[str, Folder] = {"0": "new", "1": "saved", "2": "deleted"}
"Keys of the folders, where one is asked for."
FOLDER_WORDS: dict[Folder, str] = {"new": "vm-INBOX", "saved": "vm-Old", "deleted": "vm-deleted-folder"}

MAIN = {
    "1": "first",
    "2": "folders",
    "3": "advanced",
    "4": "previous",
    "5": "repeat",
    "6": "next",
    "7": "delete",
    "8": "forward",
    "9": "save",
    "0": "options",
    "*": "help",
    "#": "leave",
}
"Behind a message, and before the first; those of a message do nothing where there is none."
OF_A_MESSAGE = frozenset(("advanced", "previous", "repeat", "next", "delete", "forward", "save"))

STEP = 3000
"Milliseconds that a key skips or goes back within a message, as in Asterisk."
WITHIN = {"*": f"seek:-{STEP}", "#": f"seek:+{STEP}", "0": "pause"}
"What an input callback returns while a message plays; every other key ends it, and does what it does behind it."

CHANGE = {"0": "0", "1": "1", "2": "2", "*": ""}
SAVE = {"0": "0", "1": "1", "*": ""}
"The keys of the folders that may be chosen; * is for none."
ADVANCED = {"1": "reply", "2": "call_back", "3": "envelope", "*": "back"}
OPTIONS = {"1": "unavailable", "2": "busy", "3": "name", "4": "temporary", "5": "pin", "*": "back"}
GREETING = {"1": "record", "2": "listen", "3": "remove", "*": "back"}
REVIEW = {"1": "keep", "2": "listen", "3": "again", "*": "cancel"}
FORWARD = {"1": "comment", "2": "plain", "*": "back"}


def within(key: str) -> str | None:
    """What becomes of a message that plays, as the value of an input callback; None where the key ends it."""
    return WITHIN.get(key)


def main_words(waiting: Folder | None) -> tuple[str, ...]:
    """The main menu; ``waiting``: the folder that ``1`` plays, None where no message is in it."""
    listen = ("vm-onefor", FOLDER_WORDS[waiting], "vm-messages") if waiting else ()
    return (*listen, "vm-opts", "vm-helpexit")


def message_words(*, first: bool, last: bool, deleted: bool) -> tuple[str, ...]:
    """The menu behind a message."""
    return (
        "vm-advopts",
        *(() if first else ("vm-prev",)),
        "vm-repeat",
        *(() if last else ("vm-next",)),
        "vm-undelete" if deleted else "vm-delete",
        "vm-toforward",
        "vm-savemessage",
        "vm-helpexit",
    )


def advanced_words(*, reply: bool, call_back: bool) -> tuple[str, ...]:
    """The advanced menu; whether its first two keys are to be had for this message."""
    return (
        *(("vm-toreply",) if reply else ()),
        *(("vm-tocallback",) if call_back else ()),
        "vm-tohearenv",
        "vm-starmain",
    )


def folder_words(of: Iterable[str]) -> tuple[str, ...]:
    """Which of these keys is which folder."""
    return tuple(
        word for key in of if key in FOLDERS
        for word in ("vm-press", f"digits/{key}", "vm-for", FOLDER_WORDS[FOLDERS[key]], "vm-messages")
    )  # fmt: skip
