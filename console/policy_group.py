"""`strowger policy` whole: its commands are in several modules, which need the first of them."""

from __future__ import annotations

from console import edit_command, history_commands
from console.policy_commands import app

app.command("diff")(history_commands.diff_command)
app.command("edit")(edit_command.edit)
app.command("history")(history_commands.history)
app.command("rollback")(history_commands.rollback)

__all__ = ["app"]
