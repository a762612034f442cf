"""The commands as a typer application."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="The Keras API on PyTorch, whose shapes explain themselves.", add_completion=False)

ModelFile = Annotated[Path, typer.Argument(exists=True, help="A model's .keras or .h5 file.")]


@app.command(context_settings={"allow_interspersed_args": False, "ignore_unknown_options": True})
def run(
    script: Annotated[str, typer.Argument(help="The script's file.")],
    arguments: Annotated[list[str] | None, typer.Argument(help="What the script finds in sys.argv.")] = None,
) -> None:
    """Run a Keras script unmodified: its `import keras` and `import tensorflow` find lamina."""
    from lamina.cli.script import run_script

    sys.exit(run_script(script, arguments or []))


@app.command()
def summary(file: ModelFile) -> None:
    """Print a saved model's layers, output shapes and parameter counts."""
    from lamina.models import load_model

    load_model(str(file)).summary()


@app.command()
def explain(file: ModelFile) -> None:
    """Print a saved model layer by layer: each size with its arithmetic, each count with its formula."""
    from lamina.models import load_model

    print(load_model(str(file)).explain())


@app.command()
def version() -> None:
    """Print the versions of lamina, torch and Python."""
    from importlib.metadata import version as version_of

    import lamina

    print(f"lamina {lamina.__version__}, torch {version_of('torch')}, Python {sys.version.split()[0]}")
