"""`lamina demo`: the main job on real images: train, explain, save, load, draw. `make demo` runs it too."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

import lamina as keras
from lamina import layers

CLASSES = ["T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot"]


def build() -> keras.Sequential:
    """The network of `examples/contradictory_shapes.py`, with its contradictory declarations left out."""
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(16, 3, activation="relu"),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(3),
            layers.Conv2D(32, 3, activation="relu"),
            layers.Conv2D(16, 3, activation="relu"),
            layers.GlobalMaxPooling2D(),
            layers.Dense(10, activation="softmax"),
        ],
        name="fashion",
    )


def main(folder: str = "demo-output", epochs: int = 12) -> dict[str, float]:
    """Runs the demonstration and returns what it measured."""
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(1)
    (x_train, y_train), (x_test, y_test) = keras.datasets.fashion_mnist.load_data(subset="bundled")
    x_train, x_test = (x[..., None].astype("float32") / 255 for x in (x_train, x_test))
    y_train, y_test = (keras.utils.to_categorical(y, 10) for y in (y_train, y_test))

    model = build()
    print(f"1. The model, for {len(x_train):,} images of 28×28 in {len(CLASSES)} classes\n")
    model.summary()

    print("\n2. Why each size and each count is what it is\n")
    print(model.explain())

    print(f"\n3. Training, {epochs} epochs\n")
    accuracy_metric = keras.metrics.CategoricalAccuracy()
    model.compile(keras.optimizers.Adam(2e-3), keras.losses.CategoricalCrossentropy(), metrics=[accuracy_metric])
    start = time.perf_counter()
    model.fit(x_train, y_train, batch_size=64, epochs=epochs, validation_data=(x_test, y_test))
    seconds = time.perf_counter() - start
    loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
    print(
        f"\nOn {len(x_test):,} held-out images: accuracy {accuracy:.1%}, loss {loss:.3f}, "
        f"after {seconds:.0f} s of training."
    )

    print("\n4. Saved and loaded\n")
    path = out / "fashion.keras"
    model.save(path)
    loaded = keras.models.load_model(path)
    before, after = (m.predict(x_test, verbose=0) for m in (model, loaded))
    difference = float(np.abs(before - after).max())
    print(
        f"{path} ({path.stat().st_size / 1024:.0f} KiB) loaded; "
        f"the largest difference of a prediction is {difference:g}."
    )
    for image in range(3):
        guess, truth = CLASSES[int(after[image].argmax())], CLASSES[int(y_test[image].argmax())]
        print(f"  image {image}: {guess} with {after[image].max():.0%}; it is a {truth}")

    print("\n5. Drawn\n")
    try:
        for suffix in ("svg", "png"):
            picture = keras.utils.plot_model(model, out / f"fashion.{suffix}", show_shapes=True, show_layer_names=True)
            print(f"  {picture}")
    except ImportError as error:  # the packages for pictures are an extra
        print(f"  left out: {error}")
    return {"accuracy": accuracy, "difference": difference, "parameters": model.count_params()}
