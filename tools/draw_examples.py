"""Draws the pictures of `docs/pictures.md`: models of 15, 50 and 500 layers."""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

import lamina
from lamina import layers

FOLDER = Path(__file__).parent.parent / "docs" / "pictures"
COLOURS = 128  # of a palette, which makes the files a third as large


def convolutional() -> lamina.Model:
    """A small network for images, of 15 layers."""
    model = lamina.Sequential([lamina.Input((32, 32, 3), name="image")], name="small_cnn")
    for number, filters in enumerate((32, 64, 128), start=1):
        model.add(layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"conv{number}a"))
        model.add(layers.BatchNormalization(name=f"norm{number}"))
        model.add(layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"conv{number}b"))
        model.add(layers.MaxPooling2D(name=f"pool{number}"))
    for layer in (layers.Flatten(name="flatten"), layers.Dropout(0.5, name="dropout")):
        model.add(layer)
    model.add(layers.Dense(10, activation="softmax", name="classes"))
    return model


def main(folder: Path = FOLDER) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    applications = lamina.applications
    with lamina.device("meta"):
        drawn = {
            "layers-15": convolutional().plot(columns=2),
            "layers-50": applications.ResNet50(weights=None, name="resnet50").plot(),
            "layers-500": applications.ResNet152(weights=None, name="resnet152").plot(fold_blocks=True),
        }
    for name, picture in drawn.items():
        file = picture.save(folder / f"{name}.png", dpi=96).path
        with Image.open(file) as image:
            image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(file, optimize=True)
        print(f"{file}: {file.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
