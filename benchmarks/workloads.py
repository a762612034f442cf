"""The workloads as a user of Keras writes them: the same source for lamina and for Keras on every backend."""

from __future__ import annotations

import functools
import os
import tempfile
from typing import Any

import numpy as np
from benchmarks import data
from benchmarks.case import Case


def convnet(keras: Any, network: str, size: int, policy: str = "float32") -> Any:
    keras.config.set_dtype_policy(policy)
    return getattr(keras.applications, network)(weights=None, input_shape=(size, size, 3))


def train(keras: Any, network: str, size: int, batch: int, policy: str = "float32") -> Case:
    model = convnet(keras, network, size, policy)
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), "sparse_categorical_crossentropy")
    x, y = data.images(batch, size)
    return Case(lambda: model.train_on_batch(x, y))


def train_sequence(keras: Any, model: Any, shape: tuple[int, int, int]) -> Case:
    model.compile(keras.optimizers.Adam(), "sparse_categorical_crossentropy")
    x, y = data.sequences(*shape)
    return Case(lambda: model.train_on_batch(x, y))


def train_recurrent(keras: Any, cell: str, units: int, batch: int, steps: int, features: int) -> Case:
    layers = keras.layers
    recurrence = getattr(layers, cell)(units)
    model = keras.Sequential([keras.Input((steps, features)), recurrence, layers.Dense(10, activation="softmax")])
    return train_sequence(keras, model, (batch, steps, features))


def train_transformer(keras: Any, width: int, heads: int, tokens: int, batch: int) -> Case:
    layers = keras.layers
    inputs = keras.Input((tokens, width))
    normalized = layers.LayerNormalization(epsilon=1e-6)(inputs)
    attended = layers.MultiHeadAttention(heads, width // heads)(normalized, normalized)
    x = layers.Add()([inputs, attended])
    y = layers.LayerNormalization(epsilon=1e-6)(x)
    y = layers.Dense(4 * width, activation="gelu")(y)
    y = layers.Dense(width)(y)
    x = layers.Add()([x, y])
    x = layers.GlobalAveragePooling1D()(x)
    model = keras.Model(inputs, layers.Dense(10, activation="softmax")(x))
    return train_sequence(keras, model, (batch, tokens, width))


def encoder(keras: Any) -> Any:
    layers = keras.layers
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
        ]
    )


def fit_encoder(keras: Any, batch: int, steps: int) -> Case:
    model = encoder(keras)
    model.compile(keras.optimizers.Adam(), "sparse_categorical_crossentropy", metrics=["accuracy"])
    x, y = data.digits(batch * steps)
    return Case(lambda: model.fit(x, y, batch_size=batch, epochs=1, verbose=0), steps=steps)


def perceptron(keras: Any) -> Any:
    dense = keras.layers.Dense
    return keras.Sequential(
        [keras.Input((4,)), dense(32, activation="relu"), dense(16, activation="relu"), dense(1, activation="sigmoid")]
    )


def fit_perceptron(keras: Any, batch: int, steps: int) -> Case:
    model = perceptron(keras)
    model.compile(keras.optimizers.Adam(), "binary_crossentropy", metrics=["accuracy"])
    x, y = data.rows(batch * steps)
    return Case(lambda: model.fit(x, y, batch_size=batch, epochs=1, verbose=0), steps=steps)


def predict(keras: Any, network: str, size: int, batch: int, policy: str = "float32") -> Case:
    model = convnet(keras, network, size, policy)
    x = data.images(batch, size)[0]
    facts = {} if policy == "float32" else {"difference": difference_from_float32(keras, model, network, x)}
    return Case(
        lambda: model.predict(x, batch_size=batch, verbose=0),
        also={"predict_on_batch": lambda: model.predict_on_batch(x)},
        facts=facts,
    )


def difference_from_float32(keras: Any, model: Any, network: str, x: np.ndarray) -> float:
    """The largest difference of the outputs from those in float32 with the same weights, in parts of the largest."""
    exact = convnet(keras, network, x.shape[1])
    exact.set_weights(model.get_weights())
    wanted = exact.predict(x, verbose=0)
    given = np.asarray(model.predict(x, verbose=0)).astype("float32")
    return float(np.abs(given - wanted).max() / np.abs(wanted).max())


def overhead_predict(keras: Any, calls: int) -> Case:
    model, x = perceptron(keras), data.rows(1)[0]

    def run() -> None:
        for _ in range(calls):
            model.predict(x, verbose=0)

    return Case(run, steps=calls)


def overhead_call(keras: Any, calls: int) -> Case:
    model, x = perceptron(keras), keras.ops.convert_to_tensor(data.rows(1)[0])

    def run() -> None:
        for _ in range(calls):
            model(x)

    return Case(run, steps=calls)


def save(keras: Any, network: str) -> Case:
    model = getattr(keras.applications, network)(weights=None)
    path = os.path.join(tempfile.mkdtemp(), "model.keras")
    return Case(lambda: model.save(path))


def load(keras: Any, network: str) -> Case:
    path = os.path.join(tempfile.mkdtemp(), "model.keras")
    getattr(keras.applications, network)(weights=None).save(path)
    return Case(lambda: keras.models.load_model(path))


def kinds(keras: Any) -> dict[str, Any]:
    made = (train, train_recurrent, train_transformer, fit_encoder, fit_perceptron, predict)
    made = (*made, overhead_predict, overhead_call, save, load)
    return {kind.__name__: functools.partial(kind, keras) for kind in made}
