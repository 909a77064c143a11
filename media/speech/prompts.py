"""Prompts by name: what each says, and the names of recordings of it.

Names are those of Asterisk's sounds, where these have the words; a recording is looked for under the name itself and
under that of FreeSWITCH's sounds. No text names a key unless its name says so: recordings of others that do are left
out of the catalogue, as their keys are not ours.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from media.speech.errors import UnknownPromptError


def _words(listed: str) -> list[str]:
    return listed.split()


_SMALL = _words("""zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
    seventeen eighteen nineteen""")
_TENS = _words("twenty thirty forty fifty sixty seventy eighty ninety")
_SMALL_TH = _words("""zeroth first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth
    thirteenth fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth""")
_TENS_TH = _words("twentieth thirtieth fortieth fiftieth sixtieth seventieth eightieth ninetieth")
_MONTHS = _words("""January February March April May June July August September October November December""")
_DAYS = _words("Sunday Monday Tuesday Wednesday Thursday Friday Saturday")
_PHONETIC = _words("""alpha bravo charlie delta echo foxtrot golf hotel india juliet kilo lima mike november oscar papa
    quebec romeo sierra tango uniform victor whiskey x-ray yankee zulu""")
# What an engine would not say as a letter.
_SPELLED = {"a": "ay"}

NUMBERS: dict[str, str] = {
    **{f"digits/{value}": word for value, word in enumerate(_SMALL)},
    **{f"digits/{20 + 10 * at}": word for at, word in enumerate(_TENS)},
    **{f"digits/{word}": word for word in ("hundred", "thousand", "million", "billion", "trillion", "minus")},
    **{f"digits/h-{value}": word for value, word in enumerate(_SMALL_TH)},
    **{f"digits/h-{20 + 10 * at}": word for at, word in enumerate(_TENS_TH)},
    **{f"digits/h-{word}": f"{word}th" for word in ("hundred", "thousand", "million", "billion", "trillion")},
    "digits/star": "star",
    "digits/pound": "pound",
}
TIMES: dict[str, str] = {
    **{f"digits/mon-{at}": word for at, word in enumerate(_MONTHS)},
    **{f"digits/day-{at}": word for at, word in enumerate(_DAYS)},
    **{f"digits/{word}": word for word in ("today", "yesterday", "tomorrow", "at", "oh")},
    "digits/oclock": "o'clock",
    "digits/a-m": "a.m.",
    "digits/p-m": "p.m.",
    **{word: word for unit in ("day", "hour", "minute", "second") for word in (unit, f"{unit}s")},
}
LETTERS: dict[str, str] = {
    **{f"letters/{char}": _SPELLED.get(char, char) for char in "abcdefghijklmnopqrstuvwxyz"},
    **{f"phonetic/{word[0]}_p": word for word in _PHONETIC},
    "letters/asterisk": "asterisk", "letters/at": "at", "letters/dash": "dash", "letters/dollar": "dollar sign",
    "letters/dot": "dot", "letters/equals": "equals", "letters/exclaimation-point": "exclamation point",
    "letters/plus": "plus", "letters/slash": "slash", "letters/space": "space", "letters/ascii37": "percent",
    "letters/ascii38": "ampersand", "letters/ascii39": "apostrophe", "letters/ascii44": "comma",
    "letters/ascii58": "colon", "letters/ascii95": "underscore", "letters/hash": "hash",
}  # fmt: skip
MONEY: dict[str, str] = {
    f"currency/{word}": word
    for word in _words("""dollar dollars cent cents euro euros pound pounds penny pence franc francs yen krona kronor
        krone kroner ore rappen and""")
}
VOICEMAIL: dict[str, str] = {
    "vm-goodbye": "Goodbye.",
    "vm-theperson": "The person at extension",
    "vm-isunavail": "is unavailable.",
    "vm-isonphone": "is on the phone.",
    "vm-intro": "Please leave your message after the tone. When done, hang up, or press the pound key.",
    "vm-mailboxfull": "Sorry, but the user's mailbox can't accept more messages.",
    "vm-tooshort": "Your message is too short.",
    "vm-review": "Press 1 to accept this recording. Press 2 to listen to it. Press 3 to re-record your message.",
    "vm-review-urgent": "Press 4 to mark this message as urgent.",
    "vm-review-nonurgent": "Press 4 to mark this message as not urgent.",
    "vm-review-delete": "Press 7 to delete it.",
    "vm-reachoper": "Press 0 to reach an operator.",
    "vm-keep-or-delete": "Press 1 to keep your message, or 7 to delete it.",
    "vm-nobodyavail": "Nobody is available to take your call at the moment.",
    "vm-cannot-record": "I'm sorry, no message can be left at the moment. Please try your call again later.",
    "vm-incomplete": "Only the beginning of your message could be recorded.",
    "vm-marked-urgent": "Message marked as urgent.",
    "vm-marked-nonurgent": "Urgent status removed.",
    "vm-msgsaved": "Your message has been saved.",
    "vm-msgforwarded": "Your message has been forwarded.",
    "vm-password": "Password?",
    "vm-incorrect": "Login incorrect.",
    "vm-youhave": "You have",
    "vm-no": "no",
    "vm-INBOX": "new",
    "vm-Old": "old",
    "vm-Urgent": "urgent",
    "vm-and": "and",
    "vm-message": "message",
    "vm-messages": "messages",
    "vm-first": "first",
    "vm-last": "last",
    "vm-received": "Received",
    "vm-from": "from",
    "vm-from-extension": "Message from extension",
    "vm-from-phonenumber": "Message from phone number",
    "vm-unknown-caller": "from an unknown caller",
    "vm-duration": "This message lasts",
    "vm-minutes": "minutes",
    "vm-deleted": "Message deleted.",
    "vm-undeleted": "Message undeleted.",
    "vm-saved": "saved",
    "vm-nomore": "No more messages.",
    "vm-rec-busy": "After the tone, say your busy message, and then press the pound key.",
    "vm-rec-unv": "After the tone, say your unavailable message, and then press the pound key.",
    "vm-rec-name": "After the tone, say your name, and then press the pound key.",
    "vm-rec-temp": "After the tone, say your temporary message, and then press the pound key.",
    "vm-tempremoved": "Your temporary greeting has been removed.",
    "vm-newpassword": "Please enter your new password, followed by the pound key.",
    "vm-reenterpassword": "Please re-enter your password, followed by the pound key.",
    "vm-mismatch": "The passwords you entered and re-entered did not match. Please try again.",
    "vm-invalid-password": "That is not a valid password. Please try again.",
    "vm-passchanged": "Your passwords have been changed.",
    "vm-pls-try-again": "Please try again.",
    "vm-sorry": "I'm sorry. I did not understand your response.",
}
DIAL_IN: dict[str, str] = {
    "vm-login": "Please enter your mailbox number, followed by the pound key.",
    "vm-incorrect-mailbox": "Login incorrect. Mailbox?",
    "vm-onefor": "Press 1 for",
    "vm-opts": "Press 2 to change folders. Press 0 for mailbox options.",
    "vm-helpexit": "Press star for help, or pound to exit.",
    "vm-help": "While a message plays, star goes back, pound goes on, and zero pauses. At any time, press 1 for the"
    " first message, 4 for the previous one, 5 to repeat it, 6 for the next one, 7 to delete it or to have it back,"
    " 8 to forward it, and 9 to save it.",
    "vm-press": "press",
    "vm-for": "for",
    "vm-advopts": "Press 3 for advanced options.",
    "vm-prev": "Press 4 for the previous message.",
    "vm-repeat": "Press 5 to repeat the current message.",
    "vm-next": "Press 6 to play the next message.",
    "vm-delete": "Press 7 to delete this message.",
    "vm-undelete": "Press 7 to undelete this message.",
    "vm-toforward": "Press 8 to forward the message to another user.",
    "vm-savemessage": "Press 9 to save this message.",
    "vm-changeto": "Change to which folder?",
    "vm-savefolder": "Which folder should I save the message to?",
    "vm-savedto": "saved to",
    "vm-deleted-folder": "deleted",
    "vm-gone": "This message is no longer there.",
    "vm-failed": "I'm sorry. That did not work. Please try again later.",
    "vm-toreply": "Press 1 to send a reply.",
    "vm-tocallback": "Press 2 to call the person who sent this message.",
    "vm-tohearenv": "Press 3 to hear the message envelope.",
    "vm-starmain": "Press star to return to the main menu.",
    "vm-nobox": "You cannot reply to this message because the sender does not have a mailbox.",
    "vm-nonumber": "I'm sorry, I don't know who sent this message.",
    "vm-nobodyavail": "Nobody is available to take your call at the moment.",
    "vm-extension": "Please enter the extension, followed by the pound key.",
    "vm-forwardoptions": "Press 1 to prepend a message. Press 2 to forward it without. Press star to go back.",
    "vm-record-prepend": "After the tone, say your message, and then press the pound key.",
    "vm-options": "Press 1 for your unavailable message. Press 2 for your busy message. Press 3 for your name."
    " Press 4 for your temporary greeting. Press 5 to change your password. Press star to return to the main menu.",
    "vm-greeting": "Press 1 to record it. Press 2 to listen to it. Press 3 to delete it. Press star to go back.",
    "vm-no-greeting": "Nothing is recorded. Press 1 to record it. Press star to go back.",
    "vm-greeting-removed": "The recording has been removed.",
    "vm-greeting-review": "Press 1 to accept this recording. Press 2 to listen to it. Press 3 to record it again."
    " Press star to cancel.",
    "vm-weak-password": "A password has four to sixteen digits, and is not easy to guess.",
}
"What those hear who dial in; keys are named, and are those of media.voicemail.keys."
GENERAL: dict[str, str] = {
    "beep": "",
    "im-sorry": "I'm sorry.",
    "invalid": "I am sorry, that's not a valid extension. Please try again.",
    "one-moment-please": "One moment, please.",
    "please-try-again": "Please try again.",
    "please-try-call-later": "Please try your call again later.",
    "cancelled": "Cancelled.",
    "hello": "Hello.",
    "goodbye": "Goodbye.",
    "auth-thankyou": "Thank you.",
}
CATALOGUE: dict[str, str] = {**NUMBERS, **TIMES, **LETTERS, **MONEY, **VOICEMAIL, **DIAL_IN, **GENERAL}
"Every prompt, and the words of it; no words: a sound that nothing but its recording, or a tone, stands for."

BEEP = "tone_stream://%(640,0,1000)"
"What stands for the prompt beep."

_FREESWITCH = {
    "vm-goodbye": "voicemail/vm-goodbye", "vm-theperson": "voicemail/vm-person",
    "vm-isunavail": "voicemail/vm-not_available", "vm-youhave": "voicemail/vm-you_have",
    "vm-INBOX": "voicemail/vm-new", "vm-Urgent": "voicemail/vm-urgent", "vm-message": "voicemail/vm-message",
    "vm-messages": "voicemail/vm-messages", "vm-last": "voicemail/vm-last",
    "vm-received": "voicemail/vm-received", "vm-deleted": "voicemail/vm-deleted",
    "vm-undeleted": "voicemail/vm-undeleted", "vm-saved": "voicemail/vm-saved",
    "vm-nomore": "voicemail/vm-no_more_messages", "vm-incorrect": "voicemail/vm-fail_auth",
    "vm-msgforwarded": "voicemail/vm-message_forwarded", "vm-passchanged": "voicemail/vm-password_has_been_changed",
    "digits/minus": "currency/minus", "digits/pound": "digits/pound", "letters/plus": "ascii/43",
    "digits/oh": "time/o", "beep": "tones/beep",
}  # fmt: skip
# Folders of FreeSWITCH's sounds for those of Asterisk's.
_MOVED = ("digits/mon-", "digits/day-", "digits/today", "digits/yesterday", "digits/tomorrow", "digits/at", "digits/oc",
          "digits/a-m", "digits/p-m")  # fmt: skip
# One word of Asterisk's stands under another folder.
_ASTERISK = {"currency/dollars": "digits/dollars", "currency/and": "vm-and"}
_ROOTS = ("", "en", "en_US_f_Allison", "en/us/callie")
"Folders below the sounds where a language may begin."
_RATES = ("", "8000", "16000")


def text(name: str) -> str:
    """The words of a prompt. Raises :class:`UnknownPromptError`."""
    try:
        return CATALOGUE[name]
    except KeyError:
        raise UnknownPromptError(f"there is no prompt {name!r}") from None


def recording_names(name: str) -> tuple[str, ...]:
    """The names that a recording of a prompt may have, without its suffix."""
    others = [_ASTERISK[name]] if name in _ASTERISK else []
    if name in _FREESWITCH:
        others.append(_FREESWITCH[name])
    elif name.startswith(_MOVED):
        others.append(name.replace("digits/", "time/"))
    elif name in TIMES and "/" not in name:
        others.append(f"time/{name}")
    elif name.startswith("phonetic/"):
        others.append(f"phonetic-ascii/{ord(name[9])}")
    elif name.startswith("letters/ascii"):
        others.append(f"ascii/{name.removeprefix('letters/ascii')}")
    elif name.startswith("letters/") and len(name) == len("letters/a"):
        others.append(f"ascii/{ord(name[-1])}")
    return (name, *others)


class Sounds:
    """A folder of recordings: Asterisk's, FreeSWITCH's, or one of yours with the names of either."""

    def __init__(self, folder: Path | None) -> None:
        """None: there are no recordings."""
        self._folder = folder
        # What is added while we run is found by those started later: a look costs up to 24 system calls.
        self._find = lru_cache(maxsize=4096)(self._look)

    def find(self, name: str) -> Path | None:
        """The recording of a prompt."""
        if not self._folder:
            return None
        path = self._find(name)
        if path is not None and not path.is_file():
            # Others went with it, or came to stand elsewhere.
            self._find.cache_clear()
            path = self._find(name)
        return path

    def all(self, names: Iterable[str]) -> list[Path] | None:
        """The recordings of all of them, or None."""
        found = []
        for name in names:
            path = self.find(name)
            if path is None:
                return None
            found.append(path)
        return found

    def _look(self, name: str) -> Path | None:
        assert self._folder
        for root in _ROOTS:
            for called in recording_names(name):
                place = self._folder / root / f"{called}.wav"
                for rate in _RATES:
                    if (path := place.parent / rate / place.name).is_file():
                        return path
        return None
