"""Damaged and made-up files and configs: only lamina's own errors come out, and a model that loads is one."""

from __future__ import annotations

import json
import os
import signal
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lamina
from lamina import layers
from lamina.base.errors import LaminaError
from lamina.models import load_model, model_from_json
from malicious import archive, dense, entry, functional, sequential, symbol

pytestmark = pytest.mark.filterwarnings("ignore")
bounded = settings(
    deadline=None,
    derandomize=True,  # the same files in every run: a failure can be looked at
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
MORE = int(os.environ.get("LAMINA_FUZZ", "1"))  # times as many examples
LIMIT = 2**28  # bytes that a made-up model may take


def small() -> lamina.Sequential:
    model = lamina.Sequential([lamina.Input((3,)), layers.Dense(2, name="dense"), layers.BatchNormalization()])
    model.compile("adam", "mse")
    model.fit(np.ones((2, 3)), np.ones((2, 2)), verbose=0)
    return model


FORMATS = ("m.keras", "m.h5", "m.safetensors", "w.weights.h5", "w.safetensors", "w.h5")


@pytest.fixture(scope="session")
def good(tmp_path_factory):
    """A whole file of each format, and the model in it."""
    folder, model = tmp_path_factory.mktemp("good"), small()
    for name in FORMATS:
        (model.save_weights if name.startswith("w.") else model.save)(folder / name)
    return model, {name: (folder / name).read_bytes() for name in FORMATS}


def open_it(path: Path, model: Any = None) -> None:
    """Loads a file; weights into `model`. Errors: any but lamina's own; warnings of damage that changes nothing else
    are none."""
    with warnings.catch_warnings(), suppress(LaminaError):
        warnings.simplefilter("ignore")
        if path.name.startswith("w."):
            model.load_weights(path)
        else:
            load_model(path, memory_limit=LIMIT)


@pytest.mark.parametrize("name", FORMATS)
def test_every_file_that_is_cut_short_is_refused(tmp_path, good, name):
    whole = good[1][name]
    path = tmp_path / name
    for part in np.linspace(0, len(whole) - 1, 25).astype(int):
        path.write_bytes(whole[:part])
        with pytest.raises(LaminaError):
            load_model(path) if name.startswith("m.") else good[0].load_weights(path)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a crash of HDF5 would end the tests")
@pytest.mark.parametrize("name", FORMATS)
@settings(bounded, max_examples=40 * MORE)
@given(data=st.data())
def test_flipped_bytes(tmp_path, good, name, data):
    content = bytearray(good[1][name])
    for _ in range(data.draw(st.integers(1, 4))):
        # The tables of contents lie at both ends; the middle is numbers.
        place = data.draw(st.one_of(st.integers(0, min(2_000, len(content) - 1)), st.integers(0, len(content) - 1)))
        content[place] = data.draw(st.integers(0, 255))
    path = tmp_path / name
    path.write_bytes(content)
    if name.endswith(".h5"):
        in_a_child(lambda: open_it(path, good[0]))
    else:
        open_it(path, good[0])


@settings(bounded, max_examples=60 * MORE)
@given(data=st.data())
def test_flipped_bytes_in_an_index_of_shards(tmp_path, good, data):
    path = tmp_path / "w.weights.json"
    good[0].save_weights(path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    with suppress(FileNotFoundError):  # the name of a part that is not there
        open_it(path, good[0])


def in_a_child(run: Callable[[], None]) -> None:
    """Runs in a process of its own: HDF5's C library may crash, or never end, on damage that no table shows, which
    SECURITY.md says. Errors: an AssertionError for an error that is not lamina's."""
    child = os.fork()
    if child == 0:
        signal.alarm(5)
        try:
            run()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) != 1
    if status:
        warnings.warn(f"HDF5 itself ended with signal {-os.waitstatus_to_exitcode(status)}.", stacklevel=2)


@pytest.mark.parametrize("name", FORMATS)
@settings(bounded, max_examples=15 * MORE)
@given(content=st.binary(max_size=300))
def test_bytes_of_any_kind(tmp_path, good, name, content):
    path = tmp_path / name
    for damaged in (content, good[1][name][:40] + content):
        path.write_bytes(damaged)
        open_it(path, good[0])


# ------------------------------------------------------------------------------------------------------------- configs

_NAMES = st.sampled_from("Dense Conv2D Lambda Embedding Sequential Functional Reshape Add system relu mse Adam".split())
_NUMBERS = st.one_of(st.integers(-2, 9), st.sampled_from([10**6, 10**12, 10**30, -(10**12), 0.5, float("nan")]))
_PLAIN = st.one_of(st.none(), st.booleans(), _NUMBERS, st.text(max_size=5), _NAMES, st.just("__numpy__"))
_KEYS = st.one_of(
    st.sampled_from("class_name config module name layers units shape dtype filters kernel_size activation".split()),
    st.text(max_size=3),
)
_VALUES = st.recursive(
    _PLAIN,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_KEYS, inner, max_size=4)),
    max_leaves=8,
)


def _good_configs():
    f = {**dense(), "name": "d", "inbound_nodes": [{"args": [symbol()], "kwargs": {}}]}
    conv = entry("Conv2D", {"filters": 2, "kernel_size": [3, 3], "strides": [1, 1], "padding": "same", "name": "c"})
    clip = {**f, **entry("Clip", {"x_min": 0, "x_max": 1}, "keras.src.ops.numpy"), "name": "f"}
    compiled = {"optimizer": "sgd", "loss": "mse", "metrics": ["mae"]}
    return [
        sequential(dense(), compile_config=compiled),
        functional(f),
        functional(clip),
        entry("Sequential", {"name": "s", "layers": [conv], "build_input_shape": [None, 8, 8, 1]}, "keras"),
        sequential(entry("Reshape", {"target_shape": [3, 1]}), entry("Embedding", {"input_dim": 4, "output_dim": 2})),
        sequential(dense(kernel_initializer=entry("Constant", {"value": 1.0}, "keras.initializers"))),
    ]


def _places(value, path=()):
    yield path
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in pairs:
        yield from _places(part, (*path, key))


def _put(value, path, new):
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = _put(copy[path[0]], path[1:], new)
    return copy


@settings(bounded, max_examples=150 * MORE)
@given(data=st.data())
def test_configs_with_a_part_exchanged(tmp_path, data):
    config = data.draw(st.sampled_from(_good_configs()))
    for _ in range(data.draw(st.integers(1, 2))):
        place = data.draw(st.sampled_from(list(_places(config))))
        config = _put(config, place, data.draw(_VALUES))
    with warnings.catch_warnings(), suppress(LaminaError):
        warnings.simplefilter("ignore")
        model_from_json(json.dumps(config))
    open_it(archive(tmp_path, config))


@settings(bounded, max_examples=60 * MORE)
@given(config=_VALUES)
def test_configs_of_any_kind(tmp_path, config):
    open_it(archive(tmp_path, config))
    with suppress(LaminaError):
        layers.deserialize(config)
