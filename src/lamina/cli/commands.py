"""The commands as a typer application. What they need is imported when they run: help and completion are quick."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import typer

from lamina.cli.output import FINE, FOUND, guarded, show, show_data, show_text

app = typer.Typer(
    help="The Keras API on PyTorch, whose shapes explain themselves.",
    epilog="MODEL is a .keras, .h5 or .safetensors file, module:name (a model, or a function that makes one), or an "
    "application.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def command(name: str, short: str, example: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Registers a function as a command. It returns its exit code; mistakes become messages (see `guarded`)."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> None:
            raise typer.Exit(guarded(function, *args, **kwargs))

        app.command(name, short_help=short, epilog=f"Example: {example}")(run)
        return function

    return register


def _completed(incomplete: str) -> list[str]:
    from lamina.cli.subjects import application_names

    files = [str(path) for pattern in ("*.keras", "*.h5", "*.safetensors") for path in Path().glob(pattern)]
    return [name for name in (*application_names(), *files) if name.startswith(incomplete)]


_MODEL_HELP = "A .keras, .h5 or .safetensors file, module:name, or an application such as ResNet50."
ModelName = Annotated[str, typer.Argument(metavar="MODEL", help=_MODEL_HELP, autocompletion=_completed)]
LayerName = Annotated[str | None, typer.Argument(metavar="LAYER", help="A layer's name.")]
InputShape = Annotated[
    list[str] | None,
    typer.Option(
        metavar="SHAPE", help="Another input, as 10,10,3 without the batch; once for each input, or NAME=10,10,3."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the data as one JSON document.")]


def _model(text: str, input_shape: list[str] | None = None, weights: bool = False) -> Any:
    from lamina.cli.subjects import model_of, shapes_of_texts

    return model_of(text, shapes_of_texts(input_shape), weights)


@command("summary", "The table of layers, output shapes and parameters.", "lamina summary ResNet50 --show macs,rf")
def summary(
    model: ModelName,
    columns: Annotated[
        str | None,
        typer.Option("--show", metavar="COLUMNS", help="params, macs, rf, dtype, time, memory, connected, or all."),
    ] = None,
    expand_nested: Annotated[bool, typer.Option("--expand-nested", help="Also the layers of nested models.")] = False,
    show_trainable: Annotated[bool, typer.Option("--show-trainable", help="Whether each layer is trained.")] = False,
    layer_range: Annotated[
        tuple[str, str] | None, typer.Option(metavar="FIRST LAST", help="The first and the last layer to show.")
    ] = None,
    line_length: Annotated[int | None, typer.Option(min=40, help="The width of the table.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="The examples of a pass that is timed.")] = 1,
    input_shape: InputShape = None,
    as_json: AsJson = False,
) -> None:
    """The table of layers, output shapes and parameters; also costs, receptive fields, dtypes, times."""
    from lamina.cli.subjects import shapes_of_texts, with_batch
    from lamina.explain.summary import summarize

    found = _model(model, input_shape, weights="time" in (columns or "") or columns == "all")
    shape = None
    if input_shape and getattr(found, "graph", None) is None:
        shape = with_batch(shapes_of_texts(input_shape))
    summarized = summarize(
        found,
        expand_nested,
        show_trainable,
        layer_range,
        show=columns,
        input_shape=shape,
        batch_size=batch_size,
    )
    if as_json:
        show_data(summarized.to_dict())
    else:
        summarized.table().show(line_length)


@command(
    "explain",
    "Each size with its arithmetic, each count's formula.",
    "lamina explain ResNet50 conv1_conv --input-shape 10,10,3",
)
def explain(model: ModelName, layer: LayerName = None, input_shape: InputShape = None, as_json: AsJson = False) -> None:
    """Each size with its arithmetic, each parameter count with its formula, of all layers or of one."""
    show(_model(model, input_shape).explain(layer), as_json)


@command("check", "What can hardly be meant, why, and what to do.", "lamina check model.keras --ignore W401")
def check(
    model: ModelName,
    ignore: Annotated[
        list[str] | None, typer.Option(metavar="CODE", help="A finding that is not to be reported; may be repeated.")
    ] = None,
    input_shape: InputShape = None,
    as_json: AsJson = False,
) -> int:
    """What can hardly be meant in the model, each with why and what to do. Exit code 1 when there is something."""
    codes = [code.strip() for text in ignore or [] for code in text.split(",")]
    findings = _model(model, input_shape).check(ignore=codes)
    show(findings, as_json)
    return FOUND if findings.findings else FINE


@command("finding", "The page on a finding of check.", "lamina finding W401")
def finding(
    code: Annotated[str, typer.Argument(metavar="CODE", help="A finding's code, as W401, or its name.")],
) -> None:
    """The page on a finding: an example, why it matters, how to mend it."""
    from lamina.explain.checking import finding_page

    show_text(finding_page(code))


@command("what-if", "The model beside itself on another input.", "lamina what-if DenseNet121 512,512,3")
def what_if(
    model: ModelName,
    shape: Annotated[
        list[str], typer.Argument(metavar="SHAPE", help="The other input, as 10,10,3 or NAME=10,10,3, for each.")
    ],
    as_json: AsJson = False,
) -> int:
    """The model beside the same model on another input. Exit code 1 when it cannot take it."""
    from lamina.cli.subjects import shapes_of_texts

    found = _model(model).what_if(shapes_of_texts(shape))
    show(found, as_json)
    return FINE if found.possible else FOUND


@command("minimum-input", "The smallest input, and the layers that set it.", "lamina minimum-input VGG16")
def minimum_input(model: ModelName, as_json: AsJson = False) -> None:
    """The smallest height and width on which every layer has a position, and the layers that set it."""
    show(_model(model).minimum_input(), as_json)


@command(
    "receptive-field",
    "What a position of a layer's output depends on.",
    "lamina receptive-field ResNet50 conv2_block1_out",
)
def receptive_field(
    model: ModelName, layer: LayerName = None, input_shape: InputShape = None, as_json: AsJson = False
) -> None:
    """Which positions of the input one position of a layer's output (of the last layer's) depends on."""
    show(_model(model, input_shape).receptive_field(layer), as_json)


@command("cuts", "The places where the model can be cut.", "lamina cuts ResNet50")
def cuts(model: ModelName, input_shape: InputShape = None, as_json: AsJson = False) -> None:
    """The places where one tensor carries everything, at which the model can be cut."""
    show(_model(model, input_shape).cuts(), as_json)


@command("compare", "Two models side by side.", "lamina compare ResNet50 ResNet101")
def compare(
    a: Annotated[str, typer.Argument(metavar="A", help=_MODEL_HELP, autocompletion=_completed)],
    b: Annotated[str, typer.Argument(metavar="B", help="The other model.", autocompletion=_completed)],
    weights: Annotated[bool, typer.Option("--weights", help="Compare the weights' values too.")] = False,
    as_json: AsJson = False,
) -> int:
    """Two models side by side: equal, changed, only in one. Exit code 1 when they differ."""
    from lamina.explain.comparing import compare as compared

    comparison = compared(_model(a, weights=weights), _model(b, weights=weights), weights)
    show(comparison, as_json)
    return FINE if comparison.equal else FOUND


@command("plot", "Draws the model into a picture.", "lamina plot ResNet50 -o resnet50.svg --fold-blocks")
def plot(
    model: ModelName,
    output: Annotated[Path, typer.Option("--output", "-o", help="The picture: .svg or .png.")] = Path("model.svg"),
    expand_nested: Annotated[bool, typer.Option("--expand-nested", help="Nested models with their layers.")] = False,
    fold_blocks: Annotated[bool, typer.Option("--fold-blocks", help="Residual blocks as one box each.")] = False,
    rankdir: Annotated[str, typer.Option(help="The direction of the arrows: TB, LR, BT or RL.")] = "TB",
    dpi: Annotated[int, typer.Option(min=20, help="Of a .png.")] = 200,
    input_shape: InputShape = None,
    as_json: AsJson = False,
) -> None:
    """Draws the model into a picture."""
    found = _model(model, input_shape)
    found.plot(
        output,
        show_layer_names=True,
        shapes="changes",
        group_blocks=not fold_blocks,
        expand_nested=expand_nested,
        fold_blocks=fold_blocks,
        rankdir=rankdir,
        dpi=dpi,
    )
    _written(output, as_json)


@command(
    "explore", "Writes a page that shows the model in a browser.", "lamina explore ResNet50 -o resnet50.html --open"
)
def explore(
    model: ModelName,
    output: Annotated[Path, typer.Option("--output", "-o", help="The page: .html.")] = Path("model.html"),
    open_page: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    input_shape: InputShape = None,
    as_json: AsJson = False,
) -> None:
    """Writes a page that shows the model in a browser, in one file that needs no network."""
    _model(model, input_shape).explore(output, open_browser=open_page)
    _written(output, as_json)


@command("convert", "Writes a model file in another format.", "lamina convert old.h5 new.keras")
def convert(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="The file that is read.", autocompletion=_completed)],
    target: Annotated[
        Path,
        typer.Argument(metavar="TARGET", help="The new file: .keras, .h5, .safetensors, .weights.h5, .weights.json."),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL", help="The architecture, where SOURCE holds weights alone.", autocompletion=_completed
        ),
    ] = None,
    weights_only: Annotated[
        bool, typer.Option("--weights-only", help="No architecture: for .h5 and .safetensors.")
    ] = False,
    no_compile: Annotated[
        bool, typer.Option("--no-compile", help="Leave out compile settings and optimizer state.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace TARGET if it is there.")] = False,
    memory_limit: Annotated[
        int | None, typer.Option("--memory-limit", metavar="BYTES", help="The most memory that the model may take.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Writes what is in one model file into another, in the format that its name ends in."""
    from lamina.saving.converting import convert as converted

    built = None if model is None else _model(model, weights=True)
    show(converted(source, target, built, weights_only, not no_compile, overwrite, memory_limit=memory_limit), as_json)


@command("inspect", "What is in a file, without running anything of it.", "lamina inspect model.keras")
def inspect(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A model file of any format.", autocompletion=_completed)],
    as_json: AsJson = False,
) -> int:
    """What is in a model file, without running, importing or making anything that it names.

    Exit code 1 when there is a remark: an unknown class, code, a link, a damaged part.
    """
    from lamina.saving.inspecting import inspect_file

    found = inspect_file(file)
    show(found, as_json)
    return FOUND if found.remarks else FINE


def _written(path: Path, as_json: bool) -> None:
    if as_json:
        show_data({"file": str(path)})
    else:
        print(path)


@app.command(
    "run",
    short_help="Runs a Keras script unmodified.",
    epilog="Example: lamina run train.py --epochs 3",
    context_settings={"allow_interspersed_args": False, "ignore_unknown_options": True},
)
def run(
    script: Annotated[str, typer.Argument(help="The script's file.")],
    arguments: Annotated[list[str] | None, typer.Argument(help="What the script finds in sys.argv.")] = None,
) -> None:
    """Runs a Keras script unmodified: its `import keras` and `import tensorflow` find lamina."""
    from lamina.cli.script import run_script

    sys.exit(run_script(script, arguments or []))


@command("demo", "Trains, explains, saves, loads and draws a network.", "lamina demo --epochs 3")
def demo(
    folder: Annotated[Path, typer.Option(help="Where the model and its pictures are written.")] = Path("demo-output"),
    epochs: Annotated[int, typer.Option(min=1, help="How long it is trained.")] = 12,
    as_json: AsJson = False,
) -> int:
    """Trains a network on real images, explains it, saves, loads and draws it."""
    from lamina.cli.demo import main

    with redirect_stdout(sys.stderr if as_json else sys.stdout):
        measured = main(str(folder), epochs)
    if as_json:
        show_data(measured)
    return FINE if measured["difference"] == 0 else FOUND


@command("version", "The versions of lamina, its engine and libraries.", "lamina version --json")
def version(as_json: AsJson = False) -> None:
    """The versions of lamina, its engine, Python and the libraries, and the device."""
    from lamina.cli.versions import versions

    found = versions()
    if as_json:
        show_data(found)
    else:
        for name, text in found.items():
            print(f"{name:<14} {text}")
