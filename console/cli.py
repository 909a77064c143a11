"""The `strowger` command: which commands there are, and how they end.

Exit statuses: 0 done; 1 not done, the message says why; 2 what was typed is wrong, and nothing was changed.
`strowger policy diff` ends as diff(1) does: 0 the same, 1 different, 2 not compared.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module

import click
import typer
import typer.main
from typer.core import TyperGroup

from console.main import refusal
from console.output import BAD_INPUT, CommandFailed, err

# Where in `console` each command is, and what a group of them says of itself; one alone says it in its docstring.
COMMANDS = {
    "policy": ("policy_group:app", "The policy: validate, apply, show, and its history."),
    "block": ("list_commands:block", "The blocklist."),
    "allow": ("list_commands:allow", "The allow list, which outdoes the blocklist."),
    "route": ("route_commands:app", "Prefixes and their routes."),
    "rates": ("rate_commands:app", "Rate sheets: what gateways charge."),
    "subscriber": ("subscriber_commands:app", "Subscribers: passwords, forwards, do not disturb."),
    "trunk": ("trunk_commands:app", "Trunks: their names, and how registrations stand."),
    "gateway": ("node_commands:gateway_app", "Gateways: their health, drains."),
    "hook": ("hook_commands:app", "Route hooks: what they do, and one asked by hand."),
    "media": ("media_commands:app", "Media workers, and the call scripts that they run."),
    "voicemail": ("voicemail_commands:app", "Mailboxes, and the messages in them."),
    "fraud": ("fraud_commands:app", "Guards against fraud: who is near, who is refused."),
    "calls": ("calls_commands:app", "Live calls, one call, and what can be done with it."),
    "cdr": ("cdr_commands:app", "Call records: the newest, exports."),
    "token": ("token_commands:app", "Tokens of the HTTP API and the console, and their roles."),
    "ivr": ("ivr_commands:app", "Menus and phrases in YAML."),
    "node": ("health_commands:node_app", "A node that takes no new calls: drain, resume."),
    "serve": ("serve_commands:app", "Run one process of a node in the foreground."),
    "audit": ("audit_command:audit", None),
    "say": ("speech_commands:say", None),
    "explain": ("explain_command:command", None),
    "dial": ("dial_command:dial", None),
    "limits": ("limits_commands:command", None),
    "health": ("health_commands:health", None),
    "nodes": ("nodes_command:nodes", None),
    "top": ("top_command:top", None),
    "reload": ("node_commands:reload", None),
    "kamcmd": ("node_commands:kamcmd_command", None),
    "status": ("node_commands:status", None),
    "run": ("media_commands:run", None),
    "transcribe": ("transcribe_command:transcribe", None),
    "backup": ("backup_commands:backup_command", None),
    "restore": ("backup_commands:restore_command", None),
    "support-bundle": ("support_command:support_bundle_command", None),
    "migrate": ("migrate_command:migrate", None),
    "up": ("up_command:up", None),
    "demo": ("up_command:show_demo", None),
}


class _Loading(TyperGroup):
    """Loads no command but the one that is asked for: loading all of them takes longer than most of them run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        try:
            return _load(cmd_name)
        except (Exception, SystemExit) as error:
            raise CommandFailed(refusal(error)) from error


def _load(name: str) -> click.Command:
    (module, _, attribute), says = COMMANDS[name][0].partition(":"), COMMANDS[name][1]
    found = getattr(import_module(f"console.{module}"), attribute)
    one = typer.Typer(pretty_exceptions_enable=False)
    if isinstance(found, typer.Typer):
        one.add_typer(found, name=name, help=says)
    else:
        one.command(name)(found)
    return typer.main.get_group(one).commands[name]


app = typer.Typer(pretty_exceptions_enable=False)


@app.callback(cls=_Loading, no_args_is_help=True)
def strowger() -> None:
    """Programmable call control."""


def main(arguments: list[str] | None = None) -> None:
    """Entry point."""
    sys.exit(run(lambda: _dispatch(sys.argv[1:] if arguments is None else arguments)))


def _dispatch(arguments: list[str]) -> object:
    for argument in arguments:
        # Bytes that are no text could be stored, and then stop every command that prints them.
        if any("\ud800" <= char <= "\udfff" for char in argument):
            raise click.UsageError(f"the argument {argument!r} is not UTF-8")
    return app(arguments, standalone_mode=False)


def run(command: Callable[[], object]) -> int:
    """Run a command; its exit status. Whatever may go wrong ends in one message, not in a traceback."""
    try:
        result = command()
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return BAD_INPUT
    except CommandFailed as error:
        _say(error)
        return error.status
    except (KeyboardInterrupt, click.Abort):
        return 130
    except Exception as error:
        # Loaded where it is needed: all that can go wrong is defined in a dozen modules of which a command needs few.
        from console.failures import status_of

        status = status_of(error)
        if status is None:
            raise
        _say(error)
        return status


def _say(error: Exception) -> None:
    err.print(str(error), markup=False, soft_wrap=True, style="red")


if __name__ == "__main__":
    main()
