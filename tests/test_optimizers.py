"""Optimizers and schedules against Keras: the same start values and gradients, the same values after each step."""

from __future__ import annotations

import copy
import json
import os
import pickle
import warnings

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np
import pytest
import torch

from lamina import constraints, optimizers
from lamina.engine.variable import Variable
from lamina.optimizers import schedules

SHAPES = [(3, 4), (5,), (), (3, 2, 4, 5), (1, 1)]
STEPS = 6

CASES = [
    ("SGD", {}),
    ("SGD", {"learning_rate": 0.1, "weight_decay": 0.01}),
    ("SGD", {"learning_rate": 0.1, "momentum": 0.9}),
    ("SGD", {"learning_rate": 0.1, "momentum": 0.9, "nesterov": True}),
    ("SGD", {"learning_rate": 0.1, "nesterov": True}),
    ("Adam", {}),
    ("Adam", {"learning_rate": 0.05, "beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3}),
    ("Adam", {"learning_rate": 0.05, "amsgrad": True, "epsilon": 1e-2}),
    ("Adam", {"learning_rate": 0.05, "weight_decay": 0.1}),
    ("AdamW", {"learning_rate": 0.05}),
    ("AdamW", {"learning_rate": 0.05, "weight_decay": 0.1, "amsgrad": True}),
    ("RMSprop", {"learning_rate": 0.05}),
    ("RMSprop", {"learning_rate": 0.05, "momentum": 0.9, "rho": 0.8}),
    ("RMSprop", {"learning_rate": 0.05, "momentum": 0.5, "centered": True, "epsilon": 1e-3}),
    ("RMSprop", {"learning_rate": 0.05, "centered": True, "epsilon": 1e-2, "weight_decay": 0.1}),
    ("Adagrad", {"learning_rate": 0.1}),
    ("Adagrad", {"learning_rate": 0.1, "initial_accumulator_value": 0.5, "epsilon": 1e-2}),
    ("Adadelta", {"learning_rate": 1.0}),
    ("Adadelta", {"learning_rate": 1.0, "rho": 0.8, "epsilon": 1e-3}),
    ("Adamax", {"learning_rate": 0.05}),
    ("Adamax", {"learning_rate": 0.05, "beta_1": 0.8, "epsilon": 1e-2, "weight_decay": 0.1}),
    ("Nadam", {"learning_rate": 0.05}),
    ("Nadam", {"learning_rate": 0.05, "beta_1": 0.8, "epsilon": 1e-2}),
    ("Ftrl", {"learning_rate": 0.1}),
    (
        "Ftrl",
        {
            "learning_rate": 0.1,
            "learning_rate_power": -0.7,
            "l1_regularization_strength": 0.05,
            "l2_regularization_strength": 0.1,
            "l2_shrinkage_regularization_strength": 0.2,
            "beta": 0.3,
        },
    ),
    ("Lion", {"learning_rate": 0.01}),
    ("Lion", {"learning_rate": 0.01, "beta_1": 0.5, "weight_decay": 0.1}),
    ("SGD", {"learning_rate": 0.1, "clipnorm": 0.5}),
    ("SGD", {"learning_rate": 0.1, "clipvalue": 0.3}),
    ("SGD", {"learning_rate": 0.1, "global_clipnorm": 0.5}),
    ("Adam", {"learning_rate": 0.1, "global_clipnorm": 100.0}),
    ("SGD", {"learning_rate": 0.1, "loss_scale_factor": 4.0}),
    ("SGD", {"learning_rate": 0.1, "use_ema": True, "ema_momentum": 0.8, "ema_overwrite_frequency": 3}),
    ("Adam", {"learning_rate": 0.1, "use_ema": True, "ema_momentum": 0.5}),
    ("SGD", {"learning_rate": 0.1, "momentum": 0.9, "gradient_accumulation_steps": 2}),
    ("Adam", {"learning_rate": 0.1, "gradient_accumulation_steps": 2, "clipnorm": 0.5, "weight_decay": 0.1}),
    (
        "Adam",
        {
            "learning_rate": 0.1,
            "gradient_accumulation_steps": 2,
            "use_ema": True,
            "ema_momentum": 0.5,
            "ema_overwrite_frequency": 2,
        },
    ),
]
SIMPLEST = list(dict.fromkeys(name for name, _ in CASES))


def name_of(part):
    """A short test id."""
    if isinstance(part, dict):
        return ",".join(f"{key}={value}" for key, value in part.items()) or "default"
    return part


def starts(seed=0, dtype="float32"):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape).astype(dtype) for shape in SHAPES]


def gradients(step, dtype="float32"):
    return [torch.tensor(value) for value in starts(100 + step, dtype)]


def permuted(value):
    """A variable whose memory runs in another order than its axes, as a convolution's kernel does."""
    order = tuple(reversed(range(value.ndim)))
    return Variable(lambda shape, dtype: torch.tensor(value), value.shape, memory_order=order)


def our_variables(layout="plain", dtype="float32"):
    if layout == "permuted":
        return [permuted(value) for value in starts()]
    return [Variable(value, dtype=dtype) for value in starts(dtype=dtype)]


def their_variables(dtype="float32"):
    return [keras.Variable(value, name=f"w{index}", dtype=dtype) for index, value in enumerate(starts(dtype=dtype))]


def assert_same(ours, theirs, **tolerance):
    for our, their in zip(ours, theirs, strict=True):
        wanted = their.value.detach() if hasattr(their, "value") else their.detach()
        torch.testing.assert_close(our.detach().contiguous(), wanted, check_dtype=False, **tolerance)


@pytest.mark.parametrize(("layout", "dtype"), [("plain", "float64"), ("permuted", "float32")])
@pytest.mark.parametrize(("name", "arguments"), CASES, ids=name_of)
def test_steps_and_slots_are_those_of_keras(name, arguments, layout, dtype):
    """float64 shows that the formula is the same: what differs is Keras's float32 factors."""
    ours, theirs = getattr(optimizers, name)(**arguments), getattr(keras.optimizers, name)(**arguments)
    our, their = our_variables(layout, dtype), their_variables(dtype)
    near = {"atol": 1e-6, "rtol": 1e-6} if dtype == "float64" else {"atol": 1e-5, "rtol": 1e-5}
    for step in range(STEPS):
        ours.apply(gradients(step, dtype), our)
        theirs.apply(gradients(step, dtype), their)
        assert_same(our, their, **near)
    assert int(ours.iterations) == int(theirs.iterations)
    if layout == "permuted":
        assert our[3].stride() == permuted(starts()[3]).stride()
    assert_same(ours.variables, theirs.variables, **near)  # the order of the file
    if ours.use_ema:
        ours.finalize_variable_values(our)
        theirs.finalize_variable_values(their)
        assert_same(our, their, **near)


@pytest.mark.parametrize(("name", "arguments"), CASES, ids=name_of)
def test_gradients_stay_as_they_are(name, arguments):
    optimizer, some = getattr(optimizers, name)(**arguments), gradients(0)
    variables = our_variables()
    for _ in range(2):
        optimizer.apply(some, variables)
    assert_same(some, gradients(0), atol=0, rtol=0)


@pytest.mark.parametrize(("name", "arguments"), CASES, ids=name_of)
def test_slots_have_the_paths_of_keras(name, arguments):
    ours, theirs = (getattr(package, name)(**arguments, name="opt") for package in (optimizers, keras.optimizers))
    ours.build([Variable(value, name="w", path="dense/w") for value in starts()])
    theirs.build([keras.Variable(value, name="w") for value in starts()])
    named = -1 if name == "Nadam" else None  # Keras does not name Nadam's product of momenta
    paths = [variable.path.replace("/dense_w", "/w") for variable in ours.variables]
    assert paths[:named] == [variable.path for variable in theirs.variables][:named]


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("nesterov", [False, True])
def test_a_learning_rate_that_changes(momentum, nesterov):
    """Keras keeps the learning rate of each step inside the momentum; torch does not."""
    schedule = {"boundaries": [1, 3], "values": [0.1, 0.01, 0.2]}
    options = {"momentum": momentum, "nesterov": nesterov, "weight_decay": 0.1}
    ours = optimizers.SGD(schedules.PiecewiseConstantDecay(**schedule), **options)
    theirs = keras.optimizers.SGD(keras.optimizers.schedules.PiecewiseConstantDecay(**schedule), **options)
    our, their = our_variables(), their_variables()
    for step in range(STEPS):
        ours.apply(gradients(step), our)
        theirs.apply(gradients(step), their)
    assert_same(our, their)
    assert len(ours.variables) == len(theirs.variables)  # no learning rate among them
    assert float(ours.learning_rate) == pytest.approx(0.2)
    with pytest.raises(TypeError, match="PiecewiseConstantDecay"):
        ours.learning_rate = 0.1


@pytest.mark.parametrize("steps", [None, 2])
def test_schedules_count_calls(steps):
    schedule = ([0, 1, 2, 3, 4], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    ours = optimizers.SGD(schedules.PiecewiseConstantDecay(*schedule), gradient_accumulation_steps=steps)
    theirs = keras.optimizers.SGD(
        keras.optimizers.schedules.PiecewiseConstantDecay(*schedule), gradient_accumulation_steps=steps
    )
    our, their = our_variables(), their_variables()
    for step in range(STEPS):
        ours.apply(gradients(step), our)
        theirs.apply(gradients(step), their)
        assert_same(our, their, atol=1e-5, rtol=1e-5)


def test_the_learning_rate_can_be_read_and_set_in_every_way():
    adam = optimizers.Adam(0.5)
    assert float(adam.learning_rate) == 0.5
    adam.learning_rate = 0.25
    assert adam._current_rate() == 0.25
    assert adam.get_config()["learning_rate"] == 0.25
    adam.learning_rate.assign(0.125)
    assert adam._current_rate() == 0.125
    with torch.no_grad():
        adam.learning_rate.mul_(0.5)
    assert adam._current_rate() == 0.0625
    adam.learning_rate = torch.tensor(2.0)
    assert adam.get_config()["learning_rate"] == 2.0
    adam.learning_rate = schedules.ExponentialDecay(0.1, 1, 0.5)
    assert [variable.name for variable in adam.variables] == ["iteration"]
    assert optimizers.SGD(lambda: 0.75)._current_rate() == 0.75


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_other_dtypes_and_gradients_of_other_dtypes(dtype):
    mixed = [Variable(np.ones((3,)), dtype=dtype), Variable(np.ones((2, 2)), dtype="float32")]
    for name in SIMPLEST:
        variables = copy.deepcopy(mixed)
        optimizer = optimizers.get(name)
        optimizer.apply([torch.ones(3), torch.ones((2, 2), dtype=torch.float64)], variables)
        assert [variable.dtype for variable in variables] == [variable.dtype for variable in mixed]
        assert all(bool(variable.isfinite().all()) for variable in variables), name


def test_gradients_in_another_memory_order_and_sparse_ones():
    for name in SIMPLEST:
        plain, other = our_variables("permuted"), our_variables("permuted")
        first, second = optimizers.get(name), optimizers.get(name)
        for step in range(2):
            some = gradients(step)
            first.apply(some, plain)
            some[3] = some[3].permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)
            some[0] = some[0].to_sparse()
            second.apply(some, other)
        assert_same(other, plain, atol=0, rtol=0)


# --- gradients that are missing or wrong


def test_a_missing_gradient_leaves_its_variable_alone():
    for name in SIMPLEST:
        ours, theirs = optimizers.get(name), keras.optimizers.get(name)
        our, their = our_variables(), their_variables()
        for step in range(3):
            some = gradients(step)
            some[1] = None if step != 1 else some[1]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                theirs.apply(some, their)
            with pytest.warns(UserWarning, match="no gradient") if step != 1 else warnings.catch_warnings():
                ours.apply(some, our)
        assert_same(our, their, atol=2e-6, rtol=1e-5)


def test_mistakes():
    sgd, variables = optimizers.SGD(), our_variables()
    with pytest.raises(ValueError, match="built optimizer"):
        sgd.apply(gradients(0))
    with pytest.raises(ValueError, match="No variable has a gradient"):
        sgd.apply([None] * len(variables), variables)
    with pytest.raises(ValueError, match="2 gradients do not fit 5 variables"):
        sgd.apply(gradients(0)[:2], variables)
    with pytest.raises(ValueError, match="other variables"):
        sgd.apply([torch.ones(3)], [Variable(np.ones(3))])
    with pytest.raises(ValueError, match="does not fit"):
        sgd.apply([torch.ones(7), *gradients(0)[1:]], variables)
    assert int(sgd.iterations) == 0
    assert_same(variables, [Variable(value) for value in starts()])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optimizers.SGD(momentun=0.9), "SGD has no argument 'momentun'. Did you mean 'momentum'"),
        (lambda: optimizers.SGD(clipnorm=1.0, clipvalue=1.0), "One kind of clipping"),
        (lambda: optimizers.SGD(use_ema=True, ema_momentum=2.0), "ema_momentum"),
        (lambda: optimizers.SGD(use_ema=True, ema_overwrite_frequency=0), "ema_overwrite_frequency"),
        (lambda: optimizers.SGD(gradient_accumulation_steps=1), "at least 2"),
        (lambda: optimizers.SGD(momentum=2.0), "momentum lies in"),
        (lambda: optimizers.Lion(beta_1=0.0), "beta_1"),
        (lambda: optimizers.Ftrl(learning_rate_power=1.0), "learning_rate_power"),
        (lambda: optimizers.AdamW(weight_decay=None), "weight_decay"),
        (lambda: optimizers.LossScaleOptimizer(optimizers.SGD(), clipnorm=1.0), "inner optimizer"),
        (lambda: optimizers.get("adan"), "no known optimizer. Did you mean 'adam"),
        (lambda: schedules.CosineDecay(0.1, 0), "decay_steps is positive"),
        (lambda: schedules.PiecewiseConstantDecay([1], [1.0]), "part 2 values"),
    ],
)
def test_wrong_arguments(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()


def test_get_refuses_other_things():
    with pytest.raises(TypeError, match=r"lamina\.optimizers\.Optimizer"):
        optimizers.get(lambda: None)
    with pytest.raises(TypeError):
        optimizers.get(torch.optim.SGD([torch.nn.Parameter(torch.ones(1))]))


# --- decay, constraints


def test_variables_excluded_from_decay():
    ours, theirs = optimizers.AdamW(0.1, weight_decay=0.5), keras.optimizers.AdamW(0.1, weight_decay=0.5)
    our = [Variable(value, name=f"w{index}") for index, value in enumerate(starts())]
    their = their_variables()
    ours.exclude_from_weight_decay(var_list=[our[0]], var_names=["w1"])
    theirs.exclude_from_weight_decay(var_list=[their[0]], var_names=["w1"])
    for step in range(3):
        ours.apply(gradients(step), our)
        theirs.apply(gradients(step), their)
    assert_same(our, their)
    with pytest.raises(ValueError, match="before the optimizer is built"):
        ours.exclude_from_weight_decay(var_names=["w2"])


def test_constraints_hold_after_each_step():
    variable = Variable(np.array([0.05, 1.0], "float32"))
    variable.constraint = constraints.NonNeg()
    optimizers.SGD(0.1).apply([torch.ones(2)], [variable])
    np.testing.assert_allclose(variable.numpy(), [0.0, 0.9], rtol=1e-6)


# --- configs, files, copies


@pytest.mark.parametrize(("name", "arguments"), CASES, ids=name_of)
def test_configs(name, arguments):
    ours = getattr(optimizers, name)(**arguments, name="mine")
    theirs = getattr(keras.optimizers, name)(**arguments, name="mine")
    our_config, their_config = ours.get_config(), theirs.get_config()
    their_config["learning_rate"] = pytest.approx(their_config["learning_rate"], rel=1e-6)  # Keras rounds to float32
    assert our_config == their_config
    json.dumps(our_config)
    again = optimizers.deserialize(keras.optimizers.serialize(theirs))  # Keras names modules of its own inside
    assert type(again) is type(ours)
    assert again.get_config() == their_config
    assert optimizers.get(optimizers.serialize(ours)).get_config() == our_config


def test_a_schedule_in_a_config():
    adam = optimizers.Adam(schedules.ExponentialDecay(0.1, 10, 0.5))
    config = optimizers.serialize(adam)
    keras_config = keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)).get_config()
    assert config["config"]["learning_rate"] == keras_config["learning_rate"]
    again = optimizers.get(json.loads(json.dumps(config)))
    assert again.get_config() == adam.get_config()
    assert float(again.learning_rate) == pytest.approx(0.1)


@pytest.mark.parametrize("name", ["adam", "Adam", "ADAM", "sgd", "SGD", "rmsprop", "RMSprop", "adamw", "AdamW", "ftrl"])
def test_names(name):
    assert type(optimizers.get(name)).__name__ == type(keras.optimizers.get(name)).__name__
    assert optimizers.get(None) is None


@pytest.mark.parametrize(("name", "arguments"), CASES, ids=name_of)
def test_a_run_goes_on_from_its_file(name, arguments):
    """Also from a file of Keras's, whose variables lie in the same order."""
    first, variables = getattr(optimizers, name)(**arguments), our_variables("permuted")
    theirs, their = getattr(keras.optimizers, name)(**arguments), their_variables()
    for step in range(3):
        first.apply(gradients(step), variables)
        theirs.apply(gradients(step), their)
    stores = {"lamina": {}, "keras": {}}
    first.save_own_variables(stores["lamina"])
    theirs.save_own_variables(stores["keras"])
    resumed = {}
    for source, store in stores.items():
        resumed[source] = [Variable(variable.numpy()) for variable in variables]
        second = getattr(optimizers, name)(**arguments)
        second.build(resumed[source])
        second.load_own_variables(store)
        for step in range(3, STEPS):
            second.apply(gradients(step), resumed[source])
    for step in range(3, STEPS):
        first.apply(gradients(step), variables)
    assert_same(resumed["lamina"], variables, atol=1e-6, rtol=1e-6)
    assert_same(resumed["keras"], variables, atol=1e-5, rtol=1e-4)


def test_a_file_of_another_optimizer_is_not_read():
    adam, sgd = optimizers.Adam(), optimizers.SGD()
    for optimizer in (adam, sgd):
        optimizer.build(our_variables())
    store = {}
    adam.save_own_variables(store)
    with pytest.warns(UserWarning, match="starts anew"):
        sgd.load_own_variables(store)
    with pytest.raises(ValueError, match="2 variables"):
        sgd.set_weights([0])


@pytest.mark.parametrize(
    "copy_of", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))], ids=["deepcopy", "pickle"]
)
def test_copies_go_on_alone(copy_of):
    adam, variables = optimizers.Adam(0.1, weight_decay=0.1), our_variables("permuted")
    adam.apply(gradients(0), variables)
    twin, twins = copy_of((adam, variables))
    adam.apply(gradients(1), variables)
    twin.apply(gradients(1), twins)
    assert_same(twins, variables)
    assert twin.get_config() == adam.get_config()


# --- a user's own


class Simple(optimizers.Optimizer):
    """Written as Keras's guide writes one."""

    def __init__(self, learning_rate=0.1, power=1.0, **kwargs):
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.power = power

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self.sums = [self.add_variable_from_reference(variable, name="sum") for variable in variables]

    def update_step(self, gradient, variable, learning_rate):
        total = self.sums[self._get_variable_index(variable)]
        self.assign_add(total, gradient)
        self.assign_sub(variable, total * learning_rate * self.power)


def test_a_users_optimizer():
    mine, variables = Simple(power=2.0, clipvalue=1.0), [Variable([1.0, 2.0])]
    for _ in range(2):
        mine.apply_gradients([(torch.tensor([1.0, 4.0]), variables[0])])
    np.testing.assert_allclose(variables[0].numpy(), [0.4, 1.4], rtol=1e-6)
    config = mine.get_config()
    assert (config["power"], config["clipvalue"], config["learning_rate"]) == (2.0, 1.0, 0.1)
    assert Simple.from_config(config).get_config() == config
    assert len(mine.variables) == 3


# --- loss scaling


def test_loss_scaling_is_that_of_keras():
    ours = optimizers.LossScaleOptimizer(optimizers.SGD(0.1, momentum=0.5), 8.0, dynamic_growth_steps=2)
    theirs = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1, momentum=0.5), 8.0, dynamic_growth_steps=2)
    our, their = our_variables(), their_variables()
    ours.build(our)
    theirs.build(their)
    for step in range(8):
        some = gradients(step)
        if step in (3, 6):
            some[step % 3][...] = float("inf" if step == 3 else "nan")
        ours.apply(some, our)
        theirs.apply(some, their)
        assert_same(our, their)
        assert_same(ours.variables, theirs.variables)
        assert int(ours.iterations) == int(theirs.iterations)
    assert float(ours.scale_loss(torch.tensor(2.0))) == float(theirs.scale_loss(torch.tensor(2.0)))
    ours.learning_rate = 0.5
    assert float(ours.inner_optimizer.learning_rate) == 0.5
    again = optimizers.deserialize(json.loads(json.dumps(optimizers.serialize(ours))))
    assert again.get_config() == ours.get_config()
    assert set(ours.get_config()) == set(theirs.get_config())


# --- schedules

SCHEDULES = [
    ("ExponentialDecay", (0.1, 10, 0.5), {}),
    ("ExponentialDecay", (0.1, 10, 0.5), {"staircase": True}),
    ("InverseTimeDecay", (0.1, 10, 0.5), {}),
    ("InverseTimeDecay", (0.1, 10, 0.5), {"staircase": True}),
    ("PiecewiseConstantDecay", ([5, 20], [1.0, 0.5, 0.1]), {}),
    ("PolynomialDecay", (0.1, 10), {}),
    ("PolynomialDecay", (0.1, 10, 0.01), {"power": 2.0}),
    ("PolynomialDecay", (0.1, 10, 0.01), {"power": 0.5, "cycle": True}),
    ("CosineDecay", (0.1, 20), {}),
    ("CosineDecay", (0.1, 20), {"alpha": 0.1}),
    ("CosineDecay", (0.0, 20), {"alpha": 0.1, "warmup_target": 0.2, "warmup_steps": 5}),
    ("CosineDecayRestarts", (0.1, 10), {}),
    ("CosineDecayRestarts", (0.1, 10), {"t_mul": 1.0, "m_mul": 0.5}),
    ("CosineDecayRestarts", (0.1, 10), {"t_mul": 3.0, "m_mul": 0.9, "alpha": 0.1}),
]


@pytest.mark.parametrize(("name", "arguments", "options"), SCHEDULES)
def test_schedules(name, arguments, options):
    ours = getattr(schedules, name)(*arguments, **options)
    theirs = getattr(keras.optimizers.schedules, name)(*arguments, **options)
    for step in (0, 1, 3, 5, 6, 10, 11, 19, 20, 21, 25, 29, 57, 100):
        value = ours(step)
        assert isinstance(value, float)
        assert value == pytest.approx(float(theirs(step)), rel=1e-5, abs=1e-8), step
        assert ours(torch.tensor(step)) == value
    assert ours.get_config() == theirs.get_config()
    assert schedules.serialize(ours) == keras.optimizers.schedules.serialize(theirs)
    assert schedules.deserialize(schedules.serialize(ours)).get_config() == ours.get_config()
