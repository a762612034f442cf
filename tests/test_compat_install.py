"""`compat.install()`: other people's imports find lamina, and everything is restored behind it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import lamina
from lamina import compat
from lamina.compat import old_layers
from lamina.compat.rows import words

# install()


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No keras in this process: other test files import the real one, which is put back."""
    for name in list(sys.modules):
        if name.split(".")[0] in ("keras", "tensorflow"):
            monkeypatch.delitem(sys.modules, name)
    yield
    compat.uninstall()


@pytest.fixture
def installed(fresh: None) -> None:
    compat.install()


PUBLIC = words("activations backend callbacks constraints initializers layers losses metrics models optimizers utils")


@pytest.mark.parametrize("root", ["keras", "tensorflow.keras"])
def test_installed_packages_are_laminas_own(installed: None, root: str) -> None:
    assert importlib.import_module(root) is lamina
    for name in PUBLIC:
        spec = getattr(lamina, name).__spec__
        assert importlib.import_module(f"{root}.{name}") is getattr(lamina, name)
        assert getattr(lamina, name).__spec__ is spec
    assert importlib.import_module(f"{root}.optimizers.schedules") is lamina.optimizers.schedules


def test_import_statements(installed: None) -> None:
    import keras.layers.core
    import keras.utils.np_utils as np_utils
    import tensorflow as other
    from keras import backend as K
    from keras.engine.topology import Layer
    from keras.layers import Dense
    from keras.layers.core import Dense as CoreDense
    from keras.models import Sequential
    from keras.objectives import mean_squared_error
    from keras.utils import to_categorical
    from tensorflow.keras import layers
    from tensorflow.keras.layers import Dense as OtherDense

    assert keras is lamina
    assert keras.layers.core.Dense is CoreDense is Dense is OtherDense is lamina.layers.Dense
    assert (layers, K, Layer, Sequential) == (lamina.layers, lamina.backend, lamina.layers.Layer, lamina.Sequential)
    assert mean_squared_error is lamina.losses.mean_squared_error
    assert np_utils.to_categorical is to_categorical
    assert other.keras is lamina
    assert other.random is importlib.import_module("tensorflow.random")
    assert "to_categorical" in dir(np_utils)


def test_old_names_where_they_were(installed: None) -> None:
    from keras.constraints import maxnorm
    from keras.layers import Convolution2D, merge
    from keras.layers.convolutional import Convolution2D as InnerConvolution2D
    from keras.utils.visualize_util import plot

    assert Convolution2D is InnerConvolution2D is compat.old_name("layers", "Convolution2D")
    assert merge is old_layers.merge
    assert (maxnorm.__name__, plot.__name__) == ("maxnorm", "plot")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("keras.layer", "Did you mean 'layers'"),
        ("keras.base", "lamina here, which has none"),
        ("keras.layers.core.deeper", "lamina here"),
        ("tensorflow.data", "lamina's stand-in"),
    ],
)
def test_modules_that_are_not_there(installed: None, name: str, text: str) -> None:
    with pytest.raises(ModuleNotFoundError, match=text):
        importlib.import_module(name)
    assert name not in sys.modules


def test_a_name_that_an_inner_module_has_not(installed: None) -> None:
    core = importlib.import_module("keras.layers.core")
    with pytest.raises(AttributeError, match=r"keras\.layers\.core has no 'Dens' in lamina. Did you mean 'Dense'"):
        core.Dens  # noqa: B018
    with pytest.raises(ImportError):
        from keras.layers.core import Dens  # noqa: F401


def test_uninstall_restores_everything(fresh: None) -> None:
    watched = [lamina, lamina.layers, lamina.constraints, lamina.regularizers, lamina.utils, lamina.Model]
    before = [dict(vars(holder)) for holder in watched]
    finders = list(sys.meta_path)
    compat.install()
    compat.install()
    assert compat.installed()
    for name in ("keras", "keras.layers.core", "keras.constraints", "keras.regularizers", "keras.utils.np_utils"):
        importlib.import_module(name)
    importlib.import_module("tensorflow.keras.layers")
    assert lamina.Model.fit_generator
    compat.uninstall()
    compat.uninstall()
    assert not compat.installed()
    assert [dict(vars(holder)) for holder in watched] == before
    assert sys.meta_path == finders
    assert not [name for name in sys.modules if name.split(".")[0] in ("keras", "tensorflow")]


def test_install_refuses_beside_the_real_one(fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keras", SimpleNamespace())
    with pytest.raises(lamina.LaminaError, match="'keras' is imported already"):
        compat.install()
    assert not compat.installed()
    monkeypatch.delitem(sys.modules, "keras")


def test_old_methods_of_models(installed: None) -> None:
    importlib.import_module("keras")
    model = lamina.Sequential([lamina.Input((3,)), lamina.layers.Dense(2, activation="softmax")])
    model.compile(optimizer="sgd", loss="mse")

    def batches() -> Iterator[Any]:
        while True:
            yield np.ones((4, 3), "float32"), np.ones((4, 2), "float32")

    with pytest.warns(DeprecationWarning, match=r"today: Model.fit\(x=.*, epochs=2, verbose=0, steps_per_epoch=2\)"):
        history = model.fit_generator(batches(), 8, nb_epoch=2, verbose=0)
    assert history.epoch == [0, 1]
    with pytest.warns(DeprecationWarning, match=r"today: Model.evaluate\(x=<generator>, steps=2"):
        assert model.evaluate_generator(batches(), 2) > 0
    with pytest.warns(DeprecationWarning, match="today: Model.predict"):
        assert model.predict_generator(batches(), steps=2).shape == (8, 2)
    with pytest.warns(DeprecationWarning, match="argmax"):
        assert model.predict_classes(np.ones((5, 3), "float32")).shape == (5,)
    with pytest.warns(DeprecationWarning, match=r"model.predict\(x\)"):
        assert model.predict_proba(np.ones((5, 3), "float32")).shape == (5, 2)
