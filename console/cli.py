"""The `strowger` command."""

from __future__ import annotations

import typer

from console import serve
from model.settings import Settings

app = typer.Typer(no_args_is_help=True, add_completion=True)
serve_app = typer.Typer(no_args_is_help=True)
app.add_typer(serve_app, name="serve", help="Run one process of a node.")


@serve_app.command("kamailio")
def serve_kamailio() -> None:
    """Become Kamailio with Strowger's configuration."""
    serve.serve_kamailio(Settings.from_env())


@serve_app.command("agent")
def serve_agent() -> None:
    """Keep this node's snapshot equal to Redis."""
    serve.serve_agent(Settings.from_env())


def main() -> None:
    """Entry point."""
    app()


if __name__ == "__main__":
    main()
