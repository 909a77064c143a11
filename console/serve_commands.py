"""`strowger serve`: the processes of a node, each in the foreground."""

from __future__ import annotations

from typing import Annotated

import typer

from console import serve
from model.settings import Settings

app = typer.Typer(no_args_is_help=True)


@app.command("kamailio")
def serve_kamailio() -> None:
    """Become Kamailio with Strowger's configuration."""
    serve.serve_kamailio(Settings.from_env())


@app.command("agent")
def serve_agent() -> None:
    """Keep this node's snapshot equal to Redis, ship its call records there, and have gateways probed."""
    serve.serve_agent(Settings.from_env())


@app.command("hook")
def serve_hook() -> None:
    """Ask route hooks for this node's Kamailio."""
    serve.serve_hook(Settings.from_env())


@app.command("media")
def serve_media(debug: Annotated[bool, typer.Option(help="Log what scripts raise, whatever it says.")] = False) -> None:
    """Take calls from FreeSWITCH and run call scripts for them; SIGTERM lets calls under way end first."""
    serve.serve_media(Settings.from_env(), debug=debug)


@app.command("voicemail")
def serve_voicemail() -> None:
    """Transcribe and deliver messages of mailboxes, and keep what Redis knows of them equal to the disk."""
    serve.serve_voicemail(Settings.from_env())


@app.command("records")
def serve_records() -> None:
    """Tell the webhook of call records, each at least once; one for all nodes, or several that stand in."""
    serve.serve_records(Settings.from_env())


@app.command("web")
def serve_web() -> None:
    """Answer the HTTP API and show the console; one for all nodes, or several behind a balancer."""
    serve.serve_web(Settings.from_env())
