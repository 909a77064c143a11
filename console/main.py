"""Entry point of the `strowger` command.

The command is made of the very code that `strowger reload` judges. When that code does not even import, this says so in
one line, with file and line; the code that Kamailio has in force is not touched by it.
"""

from __future__ import annotations

import sys

from kemi.main import describe


def main() -> None:
    """Run the command."""
    try:
        from console import cli
    except (Exception, SystemExit) as error:
        print(refusal(error), file=sys.stderr)
        sys.exit(1)
    cli.main()


def refusal(error: BaseException) -> str:
    """What is said where code that a command needs raised ``error`` as it was imported."""
    return f"refused, the code in force stays: the code on disk does not load: {describe(error)}"


if __name__ == "__main__":
    main()
