"""`explore_model`: a model as one HTML page that needs no network."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import webbrowser
from importlib import resources
from pathlib import Path
from typing import Any

from lamina.base.errors import LaminaError
from lamina.explain.exploring.page_data import page_data

_SCRIPTS = ("sizes.js", "layout.js", "drawing.js", "panel.js", "page.js")


def explore_model(model: Any, to_file: Any = "model.html", open_browser: bool = False) -> Path:
    """Writes a page that shows the model in a browser, and returns the file's path.

    The page is one file without network access: the graph with groups that fold, the explanation of each layer, the
    findings of `check()`, and all sizes for another input, computed in the page from the layers' own shape rules.
    `open_browser` opens it. Errors: a model that is no graph, or another ending than .html, is a LaminaError.

    >>> import lamina, tempfile
    >>> model = lamina.Sequential([lamina.Input((28, 28, 1)), lamina.layers.Conv2D(16, 3)])
    >>> explore_model(model, f"{tempfile.mkdtemp()}/model.html").name
    'model.html'
    """
    if getattr(model, "graph", None) is None:
        raise LaminaError(
            f"{model.title} has no graph to explore: build it on an input first (a subclassed model has none)."
        )
    path = Path(to_file)
    if path.suffix.lower() not in (".html", ".htm"):
        raise LaminaError(f"explore writes an .html file; got {str(to_file)!r}.")
    path.write_text(page(model), encoding="utf-8")
    if open_browser:
        webbrowser.open(path.resolve().as_uri())
    return path


def page(model: Any) -> str:
    """The page's text."""
    data = json.dumps(page_data(model), ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    own = "\n".join(_asset(name) for name in _SCRIPTS)
    scripts = [_asset("dagre.min.js"), f'(() => {{\n"use strict";\n{own}\n}})();\n']
    pieces = {
        "{{title}}": html.escape(model.name),
        "{{hashes}}": " ".join(f"'sha256-{_sha256(script)}'" for script in scripts),
        "{{style}}": _asset("page.css"),
        "{{licence}}": _asset("dagre.LICENSE.txt"),
        "{{layout}}": scripts[0],
        "{{data}}": data,
        "{{script}}": scripts[1],
    }
    text = ""
    rest = _asset("page.html")
    for mark, piece in pieces.items():  # in the page's order, so that no piece is searched for the marks of others
        before, _, rest = rest.partition(mark)
        text += before + piece
    return text + rest


def _asset(name: str) -> str:
    return resources.files(__name__).joinpath(name).read_text(encoding="utf-8")


def _sha256(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
