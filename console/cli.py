"""The `strowger` command.

Exit statuses: 0 done; 1 not done, the message says why; 2 what was typed is wrong, and nothing was changed.
`strowger policy diff` ends as diff(1) does: 0 the same, 1 different, 2 not compared.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated

import click
import typer

from console import (
    audit_command,
    backup_commands,
    calls_commands,
    cdr_commands,
    dial_command,
    edit_command,
    explain_command,
    fraud_commands,
    health_commands,
    history_commands,
    hook_commands,
    ivr_commands,
    limits_commands,
    list_commands,
    media_commands,
    migrate_command,
    node_commands,
    nodes_command,
    policy_commands,
    rate_commands,
    route_commands,
    serve,
    speech_commands,
    subscriber_commands,
    support_command,
    token_commands,
    top_command,
    transcribe_command,
    trunk_commands,
    up_command,
    voicemail_commands,
    voicemail_jobs,
)
from console.output import BAD_INPUT, FAILED, CommandFailed, err
from kemi.explain import FailureSpecError
from kemi.rpc import RpcError
from media.control import ControlError
from media.speech.errors import SpeechError
from media.voicemail.errors import BadBoxError, BadPinError, DamagedBoxError, VoicemailError
from model.entries import Action, EntryError
from model.secrets import SecretError
from model.settings import SettingError, Settings
from model.subscriber import SubscriberError
from operations.errors import InvalidError, OperationError
from policyfile import PolicyFileError
from state.store import StoreError

app = typer.Typer(no_args_is_help=True, help="Programmable call control.", pretty_exceptions_enable=False)
app.add_typer(policy_commands.app, name="policy", help="The policy: validate, apply, show, and its history.")
policy_commands.app.command("diff")(history_commands.diff_command)
policy_commands.app.command("edit")(edit_command.edit)
policy_commands.app.command("history")(history_commands.history)
policy_commands.app.command("rollback")(history_commands.rollback)
app.add_typer(list_commands.commands(Action.BLOCK), name="block", help="The blocklist.")
app.add_typer(list_commands.commands(Action.ALLOW), name="allow", help="The allow list, which outdoes the blocklist.")
app.add_typer(route_commands.app, name="route", help="Prefixes and their routes.")
app.add_typer(rate_commands.app, name="rates", help="Rate sheets: what gateways charge.")
app.add_typer(subscriber_commands.app, name="subscriber", help="Subscribers: passwords, forwards, do not disturb.")
app.add_typer(trunk_commands.app, name="trunk", help="Trunks: their names, and how registrations stand.")
app.add_typer(node_commands.gateway_app, name="gateway", help="Gateways: their health, drains.")
app.add_typer(hook_commands.app, name="hook", help="Route hooks: what they do, and one asked by hand.")
app.add_typer(media_commands.app, name="media", help="Media workers, and the call scripts that they run.")
app.add_typer(voicemail_commands.app, name="voicemail", help="Mailboxes, and the messages in them.")
app.add_typer(fraud_commands.app, name="fraud", help="Guards against fraud: who is near, who is refused.")
app.add_typer(calls_commands.app, name="calls", help="Live calls, one call, and what can be done with it.")
app.add_typer(cdr_commands.app, name="cdr", help="Call records: the newest, exports.")
app.add_typer(token_commands.app, name="token", help="Tokens of the HTTP API and the console, and their roles.")
voicemail_commands.app.command("status")(voicemail_jobs.status)
voicemail_commands.app.command("reindex")(voicemail_jobs.reindex)
voicemail_commands.app.command("dead")(voicemail_jobs.dead)
voicemail_commands.app.command("retry")(voicemail_jobs.retry)
voicemail_commands.app.command("aside")(voicemail_jobs.aside)
app.add_typer(ivr_commands.app, name="ivr", help="Menus and phrases in YAML.")
app.command("audit")(audit_command.audit)
app.command("say")(speech_commands.say)
app.command("explain")(explain_command.command)
app.command("dial")(dial_command.dial)
app.command("limits")(limits_commands.command)
app.command("health")(health_commands.health)
app.command("nodes")(nodes_command.nodes)
app.command("top")(top_command.top)
app.add_typer(health_commands.node_app, name="node", help="A node that takes no new calls: drain, resume.")
app.command("reload")(node_commands.reload)
app.command("kamcmd")(node_commands.kamcmd_command)
app.command("status")(node_commands.status)
app.command("run")(media_commands.run)
app.command("transcribe")(transcribe_command.transcribe)
app.command("backup")(backup_commands.backup_command)
app.command("restore")(backup_commands.restore_command)
app.command("support-bundle")(support_command.support_bundle_command)
app.command("migrate")(migrate_command.migrate)
app.command("up")(up_command.up)
app.command("demo")(up_command.show_demo)

serve_app = typer.Typer(no_args_is_help=True)
app.add_typer(serve_app, name="serve", help="Run one process of a node in the foreground.")


@serve_app.command("kamailio")
def serve_kamailio() -> None:
    """Become Kamailio with Strowger's configuration."""
    serve.serve_kamailio(Settings.from_env())


@serve_app.command("agent")
def serve_agent() -> None:
    """Keep this node's snapshot equal to Redis, ship its call records there, and have gateways probed."""
    serve.serve_agent(Settings.from_env())


@serve_app.command("hook")
def serve_hook() -> None:
    """Ask route hooks for this node's Kamailio."""
    serve.serve_hook(Settings.from_env())


@serve_app.command("media")
def serve_media(debug: Annotated[bool, typer.Option(help="Log what scripts raise, whatever it says.")] = False) -> None:
    """Take calls from FreeSWITCH and run call scripts for them; SIGTERM lets calls under way end first."""
    serve.serve_media(Settings.from_env(), debug=debug)


@serve_app.command("voicemail")
def serve_voicemail() -> None:
    """Transcribe and deliver messages of mailboxes, and keep what Redis knows of them equal to the disk."""
    serve.serve_voicemail(Settings.from_env())


@serve_app.command("records")
def serve_records() -> None:
    """Tell the webhook of call records, each at least once; one for all nodes, or several that stand in."""
    serve.serve_records(Settings.from_env())


@serve_app.command("web")
def serve_web() -> None:
    """Answer the HTTP API and show the console; one for all nodes, or several behind a balancer."""
    serve.serve_web(Settings.from_env())


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
    except DamagedBoxError as error:
        _say(error)
        return FAILED
    except (
        BadBoxError, BadPinError, PolicyFileError, EntryError, FailureSpecError, SecretError, SettingError,
        SubscriberError, InvalidError,
    ) as error:  # fmt: skip
        _say(error)
        return BAD_INPUT
    except CommandFailed as error:
        _say(error)
        return error.status
    except (StoreError, RpcError, ControlError, SpeechError, VoicemailError, OperationError, OSError) as error:
        _say(error)
        return FAILED
    except (KeyboardInterrupt, click.Abort):
        return 130


def _say(error: Exception) -> None:
    err.print(str(error), markup=False, soft_wrap=True, style="red")


if __name__ == "__main__":
    main()
