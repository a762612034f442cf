"""Small trainings whose every number is looked at: captured or eager, with or without a graph of the device."""

from __future__ import annotations

import numpy as np
import torch

import lamina
from lamina import layers, optimizers, regularizers

SAMPLES, BATCH, EPOCHS = 28, 8, 4  # batches of 8, 8, 8 and 4


def numbers(*shape, seed=0, kind="normal"):
    generator = torch.Generator().manual_seed(seed)
    if kind == "normal":
        return torch.randn(shape, generator=generator)
    if kind == "uniform":
        return torch.rand(shape, generator=generator)
    return torch.randint(0, kind, shape, generator=generator)


def dense(*between, units=1, activation="sigmoid", width=4, **options):
    return lamina.Sequential(
        [
            layers.Input((width,)),
            layers.Dense(6, activation="relu", **options),
            *between,
            layers.Dense(units, activation),
        ]
    )


X, BINARY = numbers(SAMPLES, 4), numbers(SAMPLES, 1, kind=2).float()
CLASSES, ONE_HOT = numbers(SAMPLES, kind=3), torch.nn.functional.one_hot(numbers(SAMPLES, kind=3), 3).float()


def everything(model):
    """All that training changes, by name."""
    tensors = {f"weight {i} {weight.path}": weight for i, weight in enumerate(model.weights)}
    tensors |= {f"optimizer {i}": variable for i, variable in enumerate(model.optimizer.variables)}
    found = [variable for metric in model.metrics for variable in metric.variables]
    tensors |= {f"metric {i}": variable for i, variable in enumerate(found)}
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def trained(build, jit_compile, x=X, y=BINARY, compiled=None, epochs=EPOCHS, **fit):
    """A model after training, its history, what is in it, and the next random number."""
    lamina.utils.set_random_seed(3)
    model = build()
    settings = {"optimizer": "adam", "loss": "mse", **(compiled() if compiled else {})}
    model.compile(**settings, jit_compile=jit_compile)
    history = model.fit(x, y, batch_size=BATCH, epochs=epochs, verbose=0, **fit).history
    scores = model.evaluate(x, y, batch_size=BATCH, verbose=0)
    return model, history, everything(model), scores, torch.rand(())


def assert_same_state(state, other, tolerance=0.0):
    """To the bit, if nothing else is said; NaN is NaN."""
    for (name, one), two in zip(state.items(), other.values(), strict=True):
        torch.testing.assert_close(one, two, rtol=tolerance, atol=tolerance, equal_nan=True, msg=name)


LAYERS = {
    "dropout": lambda: dense(layers.Dropout(0.5)),
    "dropout with a seed": lambda: dense(layers.Dropout(0.5, seed=5)),
    "noise shape": lambda: dense(layers.Dropout(0.5, noise_shape=(None, 1))),
    "noises": lambda: dense(layers.GaussianNoise(0.1, seed=1), layers.GaussianDropout(0.2), layers.AlphaDropout(0.1)),
    "batch normalization": lambda: dense(layers.BatchNormalization()),
    "frozen statistics": lambda: dense(layers.BatchNormalization(trainable=False)),
    "layer normalization": lambda: dense(layers.LayerNormalization()),
    "regularizers": lambda: dense(kernel_regularizer="l2", bias_regularizer=regularizers.L1L2(0.1, 0.1)),
    "activity": lambda: dense(layers.ActivityRegularization(0.01, 0.01), activity_regularizer="l1"),
    "constraints": lambda: dense(kernel_constraint="non_neg", bias_constraint="max_norm"),
    "mixed_bfloat16": lambda: dense(layers.Dropout(0.5, dtype="mixed_bfloat16"), dtype="mixed_bfloat16"),
    "float64": lambda: dense(dtype="float64"),
}


OPTIMIZERS = {
    "sgd": lambda: optimizers.SGD(0.1),
    "nesterov": lambda: optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    "amsgrad": lambda: optimizers.Adam(0.01, amsgrad=True),
    "adamw": lambda: optimizers.AdamW(0.01),
    "rmsprop": lambda: optimizers.RMSprop(0.01, weight_decay=0.1),
    "nadam": lambda: optimizers.Nadam(0.01),
    "adamax": lambda: optimizers.Adamax(0.01),
    "lion": lambda: optimizers.Lion(0.01),
    "adagrad": lambda: optimizers.Adagrad(0.01),
    "adadelta": lambda: optimizers.Adadelta(1.0),
    "ftrl": lambda: optimizers.Ftrl(0.01),
    "clipnorm": lambda: optimizers.Adam(0.01, clipnorm=0.01),
    "clipvalue": lambda: optimizers.Adam(0.01, clipvalue=0.001),
    "global_clipnorm": lambda: optimizers.SGD(0.1, global_clipnorm=0.01),
    "averages": lambda: optimizers.Adam(0.01, use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=3),
    "accumulation": lambda: optimizers.Adam(0.01, gradient_accumulation_steps=3),
    "loss scale factor": lambda: optimizers.Adam(0.01, loss_scale_factor=8.0),
    "schedule": lambda: optimizers.SGD(optimizers.schedules.ExponentialDecay(0.1, 3, 0.5)),
    "loss scale": lambda: optimizers.LossScaleOptimizer(optimizers.Adam(0.01), dynamic_growth_steps=3),
}


def set_attribute(index, name, value):
    return lambda model: setattr(model.layers[index], name, value)


CHANGES = {
    "rate": set_attribute(1, "rate", 0.1),
    "learning rate": lambda model: setattr(model.optimizer, "learning_rate", 0.5),
    "weights": lambda model: model.set_weights([np.ones_like(weight) for weight in model.get_weights()]),
    "another tensor": lambda model: setattr(model.layers[0].kernel, "data", torch.ones(4, 6)),
    "regularizer": lambda model: setattr(model.layers[0].kernel, "regularizer", regularizers.L2(0.5)),
}
