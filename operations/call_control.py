"""What an operator does with live calls that media has, and calls that are placed for them; by a media worker."""

from __future__ import annotations

import re
from typing import Any

from operations import live_calls
from operations.errors import AwayError, DoubtError, ImpossibleError, InvalidError, MissingError
from state import audit, commands
from state.commands import CommandError, NoAnswerError, RefusedError
from state.store import Store

Row = dict[str, Any]

TRANSFER = "strowger-transfer"
"The script that every worker has (media/builtin.py)."
SIDES = ("caller", "callee", "both")
TEXT_MAX = 1000
ARGS_MAX = 500
RING = 60
"Seconds that somebody who is called may take to answer, unless it is said."
PLAY_TIMEOUT = 15.0
"Seconds: what is said has to be spoken by machine first."

_NUMBER = re.compile(r"[0-9A-Za-z+*#._-]{1,64}")
_SCRIPT = re.compile(r"[0-9A-Za-z._+*#-]{1,64}")
_TONE = re.compile(r"[0-9A-Za-z%(),;=.*+-]{1,200}")
_PROMPT = re.compile(r"[0-9A-Za-z][0-9A-Za-z._/-]{0,100}")


def play(
    store: Store, wanted: str, *, text: str = "", prompt: str = "", tone: str = "", side: str = "both"
) -> Row:
    """Play words, a prompt by its name or a tone (``%(200,0,800)``) to one side of a live call, or to both.

    Raises InvalidError, MissingError, ImpossibleError, AwayError, StoreError.
    """
    if sum(map(bool, (text, prompt, tone))) != 1:
        raise InvalidError("one of text, prompt and tone is to be played")
    if len(text) > TEXT_MAX or any(char in text for char in "\r\n"):
        raise InvalidError(f"text: one line of {TEXT_MAX} characters at most")
    if prompt and (not _PROMPT.fullmatch(prompt) or ".." in prompt):
        raise InvalidError(f"prompt: {prompt!r} is no name of a prompt")
    if tone and not _TONE.fullmatch(tone):
        raise InvalidError(f"tone: {tone!r} is no tone such as %(200,0,800)")
    if side not in SIDES:
        raise InvalidError(f"side: {side!r} is none of {', '.join(SIDES)}")
    what: Row = {"prompt": prompt} if prompt else {"tone": tone} if tone else {"words": len(text.split())}
    return _act(
        store, wanted, "play", "played into a call", what | {"side": side}, wait=PLAY_TIMEOUT, text=text,
        prompt=prompt, tone=tone, side=side,
    )  # fmt: skip


def transfer(store: Store, wanted: str, number: str) -> Row:
    """Take a live call from its script, and send it on to a number, as the policy has it. Raises as :func:`play`."""
    _check("number", number, _NUMBER)
    return _act(store, wanted, "transfer", "call transferred", {"number": number}, number=number)


def run(store: Store, wanted: str, script: str, args: str = "") -> Row:
    """Take a live call from its script, and give it to another. Raises as :func:`play`."""
    _check("script", script, _SCRIPT)
    _check_args(args)
    return _act(store, wanted, "run", "script run on a call", {"script": script}, script=script, args=args)


def originate(
    store: Store, to: str, *, script: str = "", args: str = "", bridge: str = "", caller: str = "", timeout: int = RING
) -> Row:
    """Call a number as the policy has it; who answers is given to a script, or bridged to another number.

    Answers once the number is called: ``call`` is the ``origin`` of the events of that call, which tell on.
    Raises InvalidError, ImpossibleError, AwayError, StoreError.
    """
    if bool(script) == bool(bridge):
        raise InvalidError("who answers is given to a script, or bridged to a number: one of the two")
    _check("to", to, _NUMBER)
    _check("script", script or TRANSFER, _SCRIPT)
    _check_args(args)
    if bridge:
        _check("bridge", bridge, _NUMBER)
    if caller:
        _check("caller", caller, _NUMBER)
    live = commands.workers(store)
    ready = [name for name, report in live.items() if not report["draining"] and report["switch"]["connected"]]
    if not ready:
        raise AwayError("no media worker takes calls")
    # The one with the fewest calls.
    name = min(ready, key=lambda one: (live[one]["calls"], one))
    answer = _asked(
        store, [commands.worker(name)], "originate", to=to, caller=caller, script=script or TRANSFER,
        args=bridge or args, timeout=timeout,
    )  # fmt: skip
    row = {"call": str(answer["call"]), "worker": name}
    audit.write(store, "call originated", row["call"], None, {"to": to, "script": script, "bridge": bridge})
    return row


def _act(
    store: Store, wanted: str, name: str, done: str, after: Row, *, wait: float = commands.ANSWER_TIMEOUT,
    **arguments: Any,
) -> Row:  # fmt: skip
    live = live_calls.find(store, wanted)
    if live is None or live.state is None:
        raise MissingError(f"there is no live call {wanted!r}")
    workers = [commands.worker(one) for one in commands.workers(store)]
    if not workers:
        raise AwayError("no media worker is live")
    call_id = live.events[0]["call_id"]
    answer = _asked(store, workers, name, wait=wait, call=live.call, call_id=call_id, **arguments)
    audit.write(store, done, live.call, None, after)
    return {"call": live.call, "call_id": call_id, "worker": answer["worker"]}


def _asked(
    store: Store, workers: list[str], name: str, *, wait: float = commands.ANSWER_TIMEOUT, **arguments: Any
) -> Row:
    answers = commands.ask_each(store, workers, name, who=store.who, wait=wait, enough=1, **arguments)
    for worker, answer in answers.items():
        if not isinstance(answer, CommandError):
            return {**answer, "worker": worker.partition(":")[2]}
    refused = [str(error) for error in answers.values() if isinstance(error, RefusedError)]
    others = [str(error) for error in answers.values() if isinstance(error, NoAnswerError)]
    if others:
        raise DoubtError("; ".join(dict.fromkeys(others)))
    if refused:
        # One may have it and say why not; what the others say is that they have it not.
        said = [text for text in dict.fromkeys(refused) if text != NOBODYS] or [
            f"{NOBODYS}: only calls that a call script has can be played into, moved or given to another"
        ]
        raise ImpossibleError("; ".join(said))
    raise AwayError("no media worker answers")


NOBODYS = "no media worker has this call"
"As media/remote.py says it."


def _check(name: str, value: str, pattern: re.Pattern[str]) -> None:
    if not pattern.fullmatch(value):
        raise InvalidError(f"{name}: {value!r} is not what it can be: {pattern.pattern}")


def _check_args(args: str) -> None:
    if len(args) > ARGS_MAX or not args.isprintable() or any(char in args for char in "'\\{}[]<>|"):
        raise InvalidError(f"args: {ARGS_MAX} printable characters at most, without ' \\ {{ }} [ ] < > |")
