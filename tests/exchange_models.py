"""Models that the exchange with Keras is tested with. Each is written once and built by lamina or by Keras (`k`)."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

import lamina

Framework = Any  # the module lamina, or keras


@functools.cache
def own_classes(k: Framework) -> Any:
    """The same classes of a user's own, registered under the same names in this framework."""

    @k.saving.register_keras_serializable("exchange")
    class Scale(k.layers.Layer):
        """A layer with a weight of its own and an argument."""

        def __init__(self, factor=2.0, **kwargs):
            super().__init__(**kwargs)
            self.factor = factor

        def build(self, input_shape):
            self.scale = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="scale")
            self.seen = self.add_weight(shape=(), initializer="zeros", trainable=False, name="seen")

        def call(self, x):
            return x * self.scale * self.factor

        def get_config(self):
            return {**super().get_config(), "factor": self.factor}

    @k.saving.register_keras_serializable("exchange")
    class Block(k.layers.Layer):
        """A layer of layers: in attributes, a list and a dict, one of them given by its user."""

        def __init__(self, units, inner=None, **kwargs):
            super().__init__(**kwargs)
            self.units = units
            self.inner = inner
            self.steps = [k.layers.Dense(units), Scale(0.5), k.layers.Dense(units)]
            self.named = {"b": k.layers.Dense(units), "a": k.layers.LayerNormalization()}
            self.last = k.layers.Dense(units)

        def build(self, input_shape):
            shape = tuple(input_shape)
            for step in self.steps:
                step.build(shape)
                shape = (*shape[:-1], self.units)
            for step in (self.named["b"], self.named["a"], self.last):
                step.build(shape)
            if self.inner is not None and not self.inner.built:
                self.inner.build(shape)

        def call(self, x):
            for step in self.steps:
                x = step(x)
            x = self.last(self.named["a"](self.named["b"](x)))
            return x if self.inner is None else self.inner(x)

        def get_config(self):
            inner = k.saving.serialize_keras_object(self.inner)
            return {**super().get_config(), "units": self.units, "inner": inner}

        @classmethod
        def from_config(cls, config):
            inner = config.pop("inner")
            return cls(inner=k.saving.deserialize_keras_object(inner) if inner else None, **config)

    @k.saving.register_keras_serializable("exchange")
    class Net(k.Model):
        """A subclassed model, one of whose layers is used before another that was made earlier."""

        def __init__(self, width=3, **kwargs):
            super().__init__(**kwargs)
            self.width = width
            self.head = k.layers.Dense(1)
            self.blocks = [k.layers.Dense(width, activation="relu"), k.layers.BatchNormalization()]
            self.tail = k.Sequential([k.layers.Dense(width), k.layers.Dense(width)])

        def call(self, x, training=None):
            for block in self.blocks:
                x = block(x)
            return self.head(self.tail(x))

        def get_config(self):
            return {**super().get_config(), "width": self.width}

    @k.saving.register_keras_serializable("exchange")
    def bend(x):
        return k.ops.tanh(x) * 2

    @k.saving.register_keras_serializable("exchange")
    def cubed(y_true, y_pred):
        return k.ops.mean(k.ops.abs(y_true - y_pred) ** 3, axis=-1)

    classes = {"Scale": Scale, "Block": Block, "Net": Net, "bend": bend, "cubed": cubed}
    return type("Own", (), {key: staticmethod(v) if not isinstance(v, type) else v for key, v in classes.items()})


def stack(k):
    model = k.Sequential(name="stack")
    model.add(k.Input((8, 8, 3)))
    model.add(k.layers.Conv2D(4, 3, activation="relu", padding="same", kernel_initializer="he_normal"))
    model.add(k.layers.BatchNormalization(gamma_regularizer="l1"))
    model.add(k.layers.MaxPooling2D())
    model.add(k.layers.DepthwiseConv2D(3, depth_multiplier=2, depthwise_constraint="max_norm"))
    model.add(k.layers.Dropout(0.0))
    model.add(k.layers.Flatten())
    model.add(k.layers.Dense(3, kernel_regularizer=k.regularizers.L1L2(0.01, 0.02), bias_initializer="ones"))
    loss = k.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    model.compile(k.optimizers.Adam(0.01, amsgrad=True, clipnorm=1.0), loss=loss, metrics=["accuracy", "mae"])
    return model


def late(k):
    """Built by the first data, not by an Input."""
    model = k.Sequential([k.layers.Dense(5, activation="elu"), k.layers.Dense(2)])
    model.compile("adam", "mse")
    model(np.ones((1, 6), "float32"))
    return model


def deep(k):
    """A Sequential in a Functional in a Functional, each called twice; a chain of models as the first layer."""
    inside = k.Input((6,), name="inside")
    small = k.Sequential([k.layers.Dense(6, activation="tanh"), k.layers.Dense(6)], name="small")
    middle = k.Model(inside, k.layers.Add()([small(inside), small(small(inside))]), name="middle")
    x = k.Input((6,), name="x")
    y = k.layers.Concatenate()([middle(x), middle(middle(x))])
    model = k.Model(x, k.layers.Dense(2)(y), name="outer")
    model = k.Sequential([model, k.layers.Dense(2)], name="outermost")
    model.compile(k.optimizers.SGD(0.01, momentum=0.9, nesterov=True), "mse")
    return model


def several(k):
    """Inputs and outputs by name; a shared layer; losses, metrics and weights by output."""
    a, b = k.Input((4,), name="a"), k.Input((4,), name="b")
    shared = k.layers.Dense(3, name="shared")
    both = k.layers.Concatenate()([shared(a), shared(b)])
    outputs = {
        "left": k.layers.Dense(2, name="left")(both),
        "right": k.layers.Dense(1, activation="sigmoid", name="right")(shared(a)),
    }
    model = k.Model({"a": a, "b": b}, outputs)
    model.compile(
        k.optimizers.RMSprop(0.01, centered=True),
        loss={"left": "mse", "right": k.losses.BinaryCrossentropy()},
        loss_weights={"left": 0.5, "right": 2.0},
        metrics={"left": ["mae"], "right": [k.metrics.AUC(num_thresholds=20, name="auc")]},
        weighted_metrics={"left": ["mse"], "right": []},
    )
    return model


def listed(k):
    """Inputs and outputs in lists, losses too; a tensor that is an output and goes on."""
    a, b = k.Input((4,), name="a"), k.Input((2,), name="b")
    y = k.layers.Dense(2, name="first")(a)
    z = k.layers.Dense(2, name="second")(k.layers.Multiply()([y, b]))
    model = k.Model([a, b], [y, z], trainable=True)
    model.compile("nadam", loss=["mse", "mae"], loss_weights=[1.0, 0.3], metrics=[["mae"], ["mse", "mae"]])
    return model


def words(k):
    """Whole numbers in, masks on the way."""
    x = k.Input((5,), dtype="int32", name="words")
    y = k.layers.Embedding(10, 4, mask_zero=True, embeddings_regularizer="l2")(x)
    y = k.layers.GlobalAveragePooling1D()(y)
    model = k.Model(x, k.layers.Dense(3, activation="softmax")(y))
    model.compile("adamax", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def frozen(k):
    """Layers that do not train, one of them a model; weights that are kept in bounds."""
    x = k.Input((4,))
    base = k.Sequential([k.Input((4,)), k.layers.Dense(4), k.layers.BatchNormalization()], name="base")
    base.trainable = False
    y = k.layers.Dense(4, trainable=False, name="still")(base(x, training=False))
    y = k.layers.Dense(2, kernel_constraint=k.constraints.UnitNorm(), bias_constraint="non_neg")(y)
    model = k.Model(x, y)
    model.compile("adagrad", "mse")
    return model


def functions(k):
    """Functions and operators between layers."""
    x = k.Input((6,), name="x")
    y = k.ops.relu(x * 2 + 1) / (1.5 - k.ops.tanh(x))
    z = k.ops.concatenate([y[:, 1:3], x[..., :2]], axis=-1)
    z = k.layers.Flatten()(k.ops.reshape(z, (-1, 2, 2)))
    z = k.ops.where(z > 0, z, 0.1 * z) - k.ops.mean(x, axis=-1, keepdims=True)
    model = k.Model(x, k.layers.Dense(2)(1 - k.ops.expand_dims(z, 1)[:, 0]))
    model.compile("rmsprop", "mse")
    return model


def own(k):
    mine = own_classes(k)
    x = k.Input((4,))
    y = mine.Block(4, inner=mine.Scale(3.0), name="outer")(x)
    y = k.layers.Dense(3, activation=mine.bend)(mine.Block(4, name="plain")(y))
    model = k.Model(x, k.layers.Activation(mine.bend)(y))
    model.compile("sgd", loss=mine.cubed, metrics=[mine.cubed])
    return model


def subclassed(k):
    model = own_classes(k).Net(4)
    model.compile(k.optimizers.AdamW(0.01, weight_decay=0.1), "mse", metrics=["mae"])
    model(np.ones((2, 4), "float32"))
    return model


def typed(k):
    """A dtype or a policy for each layer."""
    x = k.Input((4,))
    y = k.layers.Dense(4, dtype="float64", name="double")(x)
    y = k.layers.Dense(4, dtype="mixed_bfloat16", name="mixed")(y)
    y = k.layers.Dense(4, dtype=k.DTypePolicy("bfloat16"), name="short")(y)
    y = k.layers.Dense(2, dtype="float32", autocast=False, name="last")(k.layers.Activation("relu", dtype="float32")(y))
    model = k.Model(x, y)
    model.compile(k.optimizers.SGD(0.001), "mse")  # short floats round: small steps stay comparable
    return model


def mixed(policy, k):
    k.config.set_dtype_policy(policy)
    try:
        model = k.Sequential([k.Input((6,)), k.layers.Dense(8, activation="relu"), k.layers.BatchNormalization()])
        model.add(k.layers.Dense(2, dtype="float32"))
        model.compile("adam", "mse")
        return model
    finally:
        k.config.set_dtype_policy("float32")


def scheduled(schedule, k):
    kind = getattr(k.optimizers.schedules, schedule[0])
    model = k.Sequential([k.Input((3,)), k.layers.Dense(2)])
    model.compile(k.optimizers.SGD(kind(**schedule[1])), "mse")
    return model


def optimized(optimizer, k):
    name, arguments = optimizer
    model = k.Sequential([k.Input((3,)), k.layers.Dense(4, activation="tanh"), k.layers.Dense(2)])
    model.compile(getattr(k.optimizers, name)(**arguments), "mse")
    return model


MODELS = [stack, late, deep, several, listed, words, frozen, functions, own, subclassed, typed]
MODELS += [functools.partial(mixed, policy) for policy in ("mixed_float16", "mixed_bfloat16", "float64")]
OPTIMIZERS = [
    ("SGD", {"learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.01}),
    ("SGD", {"learning_rate": 0.1, "clipvalue": 0.1}),
    ("Adam", {"beta_1": 0.8, "global_clipnorm": 0.5}),
    ("Adam", {"use_ema": True, "ema_momentum": 0.9, "ema_overwrite_frequency": 3}),
    ("Adam", {"gradient_accumulation_steps": 2}),
    ("AdamW", {"weight_decay": 0.1}),
    ("Nadam", {}),
    ("Adamax", {}),
    ("Adadelta", {"learning_rate": 0.5}),
    ("Adagrad", {"initial_accumulator_value": 0.2}),
    ("RMSprop", {"momentum": 0.5}),
    ("Ftrl", {"l1_regularization_strength": 0.01}),
    ("Lion", {}),
]
SCHEDULES = [
    ("ExponentialDecay", {"initial_learning_rate": 0.1, "decay_steps": 3, "decay_rate": 0.5, "staircase": True}),
    ("PiecewiseConstantDecay", {"boundaries": [2, 4], "values": [0.1, 0.05, 0.01]}),
    ("PolynomialDecay", {"initial_learning_rate": 0.1, "decay_steps": 5, "power": 2.0, "cycle": True}),
    ("InverseTimeDecay", {"initial_learning_rate": 0.1, "decay_steps": 2, "decay_rate": 0.5}),
    ("CosineDecay", {"initial_learning_rate": 0.1, "decay_steps": 6, "warmup_target": 0.2, "warmup_steps": 2}),
    ("CosineDecayRestarts", {"initial_learning_rate": 0.1, "first_decay_steps": 3}),
]
_IMAGE, _SERIES, _VOLUME = (9, 9, 4), (9, 4), (9, 9, 9, 2)
_BY_RANK = {"1D": _SERIES, "2D": _IMAGE, "3D": _VOLUME}
_SHAPES: dict[str, Any] = {
    "AlphaDropout": (4,),
    "BatchNormalization": (4, 3),
    "CenterCrop": _IMAGE,
    "Dense": (4,),
    "Dot": [(3, 4), (4, 3)],
    "EinsumDense": (4,),
    "Embedding": (4,),
    "Flatten": _IMAGE,
    "GroupNormalization": _IMAGE,
    "LayerNormalization": (4, 3),
    "Normalization": (2,),
    "RepeatVector": (4,),
    "Resizing": _IMAGE,
    "UnitNormalization": (4, 3),
    **dict.fromkeys(("Add", "Average", "Maximum", "Minimum", "Multiply", "Concatenate"), [(4, 3)] * 3),
    **dict.fromkeys(("AdditiveAttention", "Attention", "Subtract"), [(4, 3)] * 2),
    "GroupQueryAttention": [(4, 6), (5, 6)],  # query and value
    "MultiHeadAttention": [(4, 6), (5, 6)],
    "GRUCell": [(4,), (3,)],  # one step and the states
    "LSTMCell": [(4,), (3,), (3,)],
    "SimpleRNNCell": [(4,), (3,)],
    **dict.fromkeys(("SpatialDropout1D", "GlobalAveragePooling1D", "GlobalMaxPooling1D"), _SERIES),
}


def input_shapes(name: str) -> Any:
    """Shapes without the batch axis on which a layer of this class can be called; a list for several inputs."""
    by_rank = next((shape for ending, shape in _BY_RANK.items() if ending in name), (4, 6))
    return _SHAPES.get(name, by_rank)


def one_layer(k: Framework, name: str, arguments: dict[str, Any]) -> Any:
    """A model of one layer of this class."""
    shapes = input_shapes(name)
    dtype = "int32" if name == "Embedding" else None
    inputs = [k.Input(shape, dtype=dtype) for shape in (shapes if isinstance(shapes, list) else [shapes])]
    if name == "InputLayer":
        layer = k.layers.InputLayer(**arguments)
        return k.Model(layer.output, k.ops.cast(layer.output, "float32"))
    layer = getattr(k.layers, name)(**arguments)
    if name in ("GroupQueryAttention", "MultiHeadAttention"):
        outputs = layer(*inputs)
    elif name.endswith("Cell"):
        outputs = layer(inputs[0], inputs[1:])
    else:
        outputs = layer(inputs if len(inputs) > 1 else inputs[0])
    return k.Model(inputs if len(inputs) > 1 else inputs[0], outputs)


def example(model: Any, k: Framework, batch: int = 8) -> Any:
    """Inputs that a model takes, and targets for its outputs."""
    rng = np.random.default_rng(0)

    def one(tensor: Any) -> Any:
        shape = (batch, *(3 if size is None else size for size in tensor.shape[1:]))
        return rng.integers(0, 3, shape) if "int" in str(tensor.dtype) else rng.normal(size=shape).astype("float32")

    if isinstance(model, k.Sequential):
        x = one(model.inputs[0])
    elif type(model).__name__ == "Functional":
        x = k.tree.map_structure(one, model.input)
    else:
        x = rng.normal(size=(batch, 4)).astype("float32")

    def target(out: Any) -> Any:
        if model.loss == "sparse_categorical_crossentropy":
            return rng.integers(0, out.shape[-1], (batch,))
        return rng.uniform(size=tuple(out.shape)).astype("float32")

    return x, k.tree.map_structure(target, model(x))


def arrays(structure: Any) -> list[Any]:
    """The tensors of a structure as arrays, those of short floats as float32."""
    found = [leaf.detach() for leaf in lamina.tree.flatten(structure)]
    return [np.asarray(leaf.float() if leaf.dtype.itemsize == 2 else leaf) for leaf in found]


def scale_class(k: Framework) -> Any:
    """A user's own layer, with an argument that its config has without a get_config of its own."""

    class Scale(k.layers.Layer):
        def __init__(self, factor=2.0, **kwargs):
            super().__init__(**kwargs)
            self.factor = factor

        def build(self, input_shape):
            self.scale = self.add_weight((input_shape[-1],), "ones", name="scale")

        def call(self, x):
            return x * self.scale * self.factor

    return Scale


def assert_same_outputs(one: Any, other: Any, x: Any) -> None:
    for a, b in zip(arrays(one(x)), arrays(other(x)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def write_layers(root: Any, layers: dict[str, dict[str, Any]]) -> None:
    """Writes arrays by layer and weight into an HDF5 group as Keras 1 and 2 laid them out."""
    root.attrs["layer_names"] = [name.encode() for name in layers]
    for name, weights in layers.items():
        group = root.create_group(name)
        group.attrs["weight_names"] = [weight.encode() for weight in weights]
        for weight, array in weights.items():
            group[weight] = array
