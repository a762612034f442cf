"""The command line: `lamina explain MODEL`, `lamina run SCRIPT` and the other commands (`lamina --help`)."""

from __future__ import annotations

import sys


def main() -> None:
    """The entry of `lamina` and of `python -m lamina`.

    `run` goes straight to the script: its arguments are the script's own, and it starts without loading typer.
    """
    command, *arguments = sys.argv[1:] or ["--help"]
    if command == "run" and arguments and not arguments[0].startswith("-"):
        from lamina.cli.script import run_script

        sys.exit(run_script(arguments[0], arguments[1:]))

    from lamina.cli.commands import app

    app(args=[command, *arguments], prog_name="lamina")
