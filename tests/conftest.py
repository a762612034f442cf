"""What all tests share: Keras as the oracle on its torch backend, one thread per worker, fresh names and settings."""

from __future__ import annotations

import os

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

pytest.register_assert_rewrite("layer_parity", "golden")

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _fresh_settings():
    """Every test starts with new automatic names and the default settings, and leaves none behind."""
    from lamina.base import config, names
    from lamina.engine import dtypes

    names.reset_names()
    before = dict(config._settings)
    yield
    config._settings.update(before)
    dtypes.set_dtype_policy(None)


@pytest.fixture(scope="session")
def keras():
    """Keras itself, on torch."""
    import keras

    keras.config.disable_interactive_logging()
    return keras


@pytest.fixture(scope="session")
def bundled_images():
    """The bundled images, scaled: (x_train, one-hot y_train), (x_test, one-hot y_test)."""
    import lamina

    (x_train, y_train), (x_test, y_test) = lamina.datasets.fashion_mnist.load_data(subset="bundled")
    one_hot = lamina.utils.to_categorical
    return (x_train[..., None] / 255.0, one_hot(y_train, 10)), (x_test[..., None] / 255.0, one_hot(y_test, 10))
