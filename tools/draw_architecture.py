"""Draws docs/architecture.svg: the floors of the import contract in pyproject.toml, with lamina's own renderer."""

from __future__ import annotations

import tomllib
from pathlib import Path

from lamina.explain.drawing import Drawing, DrawnEdge, DrawnNode, save

ROOT = Path(__file__).resolve().parent.parent
KINDS = {
    "base": "input",
    "shapes": "input",
    "engine": "dense",
    "graph": "dense",
    "ops": "dense",
    "layers": "convolution",
}


def main() -> None:
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    floors = [[name.strip().removeprefix("lamina.") for name in floor.split("|")] for floor in contract["layers"]]
    nodes = tuple(
        DrawnNode(str(index), ", ".join(floor), kind=KINDS.get(floor[0], "layer")) for index, floor in enumerate(floors)
    )
    edges = tuple(DrawnEdge(str(index), str(index + 1)) for index in range(len(floors) - 1))
    print(save(Drawing(nodes, edges, title="imports go down"), ROOT / "docs" / "architecture.svg"))


if __name__ == "__main__":
    main()
