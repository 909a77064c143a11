"""`strowger policy edit`: the policy in force, in an editor, and back in force."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from pathlib import Path

import policyfile
from console.diff_output import print_diff
from console.output import CommandFailed, out
from console.policy_commands import Message, print_applied, put_in_force, read
from model.settings import Settings
from policyfile import PolicyFileError
from policyfile.diff import diff
from state.store import AppliedPolicy, Store, StoreError

# As git has it where none is named.
_EDITOR = "vi"


def edit(message: Message = "") -> None:
    """Edit the policy in force with $VISUAL or $EDITOR: it is checked, compared, and applied.

    It is applied in the place of the version that the edit began from. Where somebody else was faster, or the text
    is no valid policy, nothing is applied and the text is kept in a file.
    """
    store = Store(Settings.from_env().redis_url)
    began = store.policy()
    path = _file(began)
    if not _edited(path, began.text):
        path.unlink()
        out.print("nothing was changed, and nothing applied")
        return
    try:
        loaded = read(path)
        _print_difference(began, loaded)
        applied = put_in_force(store, loaded, began.version, message)
    except CommandFailed:
        # Stored, though not every node has confirmed it.
        path.unlink()
        raise
    except (PolicyFileError, StoreError) as error:
        raise CommandFailed(
            f"{error}\nnothing is known to be applied; your text is in {path}: put it right, look at "
            f"`strowger policy diff {path}`, then `strowger policy apply {path}`"
        ) from error
    path.unlink()
    print_applied(applied, json=False)


def _file(began: AppliedPolicy) -> Path:
    """A file of the operator's own with the text in force."""
    handle, name = tempfile.mkstemp(prefix=f"strowger-policy-{began.version}-", suffix=".yaml")
    with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
        file.write(began.text)
    return Path(name)


def _edited(path: Path, text: str) -> bool:
    """Let the operator edit; whether the text is another then. Raises CommandFailed."""
    # An editor may be named with its options, as in `code --wait`.
    command = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or _EDITOR)
    try:
        status = subprocess.run([*command, str(path)], check=False).returncode
    except OSError as error:
        path.unlink()
        raise CommandFailed(f"the editor {shlex.join(command)} cannot be run: {error.strerror}") from error
    if status:
        raise CommandFailed(f"the editor ended with {status}; nothing was applied, and the text is in {path}")
    return path.read_bytes() != text.encode()


def _print_difference(began: AppliedPolicy, loaded: policyfile.LoadedPolicy) -> None:
    changes = diff(began.decode(), (loaded.policy, loaded.routes))
    if changes:
        print_diff(changes)
    else:
        out.print("no difference in what is decided: only the text is another")
