"""Programs that meet a shape error in a layer, and the table to which `message_programs.py` adds the others."""

from __future__ import annotations

import numpy as np
import torch

import lamina
from lamina import layers

PROGRAMS = {}


def program(function):
    PROGRAMS[function.__name__] = function
    return function


def zeros(*shape):
    return np.zeros(shape, "float32")


def image(*shape, name="image"):
    return lamina.Input(shape, name=name)


# Layers on symbols and on data.


@program
def conv_rank_symbolic():
    layers.Conv2D(4, 3, name="conv")(image(28, 28))


@program
def conv_rank_eager():
    layers.Conv2D(4, 3, name="conv")(zeros(28, 28, 1))


@program
def conv_rank_torch():
    layers.Conv2D(4, 3, name="conv")(torch.zeros(2, 3, 28, 28, 1))


@program
def conv_rank_grey_images():
    layers.Conv2D(4, 3, name="conv")(zeros(8, 28, 28))


@program
def dense_without_features():
    layers.Dense(4, name="dense")(zeros(3))


@program
def window_symbolic():
    layers.Conv2D(4, (3, 5), name="conv")(image(8, 4, 3))


@program
def window_eager():
    layers.MaxPooling1D(4, name="pool")(torch.zeros(2, 3, 5))


@program
def window_dilated():
    layers.Conv1D(4, 3, dilation_rate=4, name="conv")(image(8, 2))


@program
def built_dense_eager():
    head = layers.Dense(3, name="head")
    head(zeros(2, 128))
    head(zeros(2, 64))


@program
def built_dense_symbolic():
    head = layers.Dense(3, name="head")
    head(image(128))
    head(layers.GlobalAveragePooling2D(name="pool")(image(7, 7, 64)))


@program
def built_conv_one_channel():
    conv = layers.Conv2D(3, 3, name="conv")
    conv(image(9, 9, 1))
    conv(zeros(2, 9, 9, 3))


@program
def open_features():
    layers.Dense(3, name="head")(layers.Flatten(name="flat")(image(None, None, 3)))


@program
def open_weight():
    class Bias(layers.Layer):
        def build(self, input_shape):
            self.bias = self.add_weight(input_shape[1:], name="bias")

        def call(self, inputs):
            return inputs + self.bias

    Bias(name="shift")(image(None, 4))


@program
def set_weights():
    head = layers.Dense(3, name="head")
    head(image(4))
    head.set_weights([zeros(3, 4), zeros(3)])


@program
def softmax_mask():
    layers.Softmax(name="soft")(zeros(2, 3), mask=np.ones((2, 4), bool))


@program
def normalization_axis():
    layers.BatchNormalization(axis=3, name="norm")(image(4))


@program
def normalization_mask():
    layers.BatchNormalization(name="norm")(zeros(2, 5, 3), training=True, mask=np.ones((2, 4, 1), bool))


@program
def groups():
    layers.GroupNormalization(4, name="norm")(image(6, 6, 6))


@program
def attention_axis():
    layers.MultiHeadAttention(2, 4, attention_axes=2, name="heads")(image(3, 8), image(5, 8))


@program
def attention_ranks():
    layers.MultiHeadAttention(2, 4, name="heads")(image(3, 8), image(2, 5, 8))


@program
def attention_positions():
    heads = layers.MultiHeadAttention(2, 4, name="heads")
    heads(zeros(2, 3, 8), zeros(2, 5, 8))
    heads(zeros(2, 3, 8), zeros(2, 5, 8), zeros(2, 4, 8))


@program
def attention_other_axes():
    layers.MultiHeadAttention(2, 4, attention_axes=(1,), name="heads")(image(3, 4, 8), image(5, 3, 8))


@program
def attention_features():
    heads = layers.MultiHeadAttention(2, 4, name="heads")
    heads(image(3, 8), image(5, 8))
    heads(image(3, 8), image(5, 6))


@program
def attention_mask():
    heads = layers.MultiHeadAttention(2, 4, name="heads")
    heads(zeros(2, 3, 8), zeros(2, 5, 8), attention_mask=np.ones((2, 5), bool))


@program
def attention_key_mask():
    heads = layers.MultiHeadAttention(2, 4, name="heads")
    heads(zeros(2, 3, 8), zeros(2, 5, 8), key_mask=np.ones((2, 3), bool))


@program
def plain_attention_inputs():
    layers.Attention(name="attention")(image(3, 8))


@program
def plain_attention_ranks():
    layers.Attention(name="attention")([image(3, 8), image(8)])


@program
def plain_attention_features():
    layers.AdditiveAttention(name="attention")([image(3, 8), image(5, 6)])


@program
def recurrent_features():
    memory = layers.LSTM(4, name="memory")
    memory(image(None, 3))
    memory(zeros(2, 5, 6))


@program
def recurrent_without_steps():
    layers.GRU(4, name="memory")(zeros(2, 0, 3))


@program
def recurrent_open_batch():
    layers.LSTM(4, stateful=True, name="memory")(image(5, 3))


@program
def recurrent_states():
    layers.LSTM(4, name="memory")(image(5, 3), initial_state=[image(4, name="h"), image(3, name="c")])


@program
def recurrent_kept_states():
    memory = layers.GRU(4, stateful=True, name="memory")
    memory(zeros(8, 5, 3))
    memory(zeros(6, 5, 3))


@program
def bidirectional_units():
    both = layers.Bidirectional(
        layers.LSTM(4), merge_mode="sum", backward_layer=layers.LSTM(3, go_backwards=True), name="both"
    )
    both(image(5, 3))


@program
def time_distributed_mask():
    each = layers.TimeDistributed(layers.Dense(3), name="each")
    each(zeros(2, 5, 3), mask=np.ones((2, 4), bool))


@program
def time_distributed_axes():
    layers.TimeDistributed(layers.Dense(3), name="each")(image(5))


@program
def einsum_axes():
    layers.EinsumDense("abc,cd->abd", output_shape=(None, 4), name="einsum")(image(6))


@program
def einsum_sizes():
    layers.EinsumDense("ab,bc->ac", output_shape=4, name="einsum").build((2, 6))
    einsum = layers.EinsumDense("ab,bc->ac", output_shape=4, name="einsum")
    einsum(zeros(2, 6))
    einsum(zeros(2, 5))


@program
def noise_shape():
    layers.Dropout(0.5, noise_shape=(None, 3), name="drop")(image(4))


@program
def reshape():
    layers.Reshape((5, 5), name="grid")(image(24))


@program
def reshape_open():
    layers.Reshape((-1, 5), name="grid")(image(24))


@program
def cropping():
    layers.Cropping2D(4, name="crop")(image(9, 8, 3))


# Layers that join.


def branches(one, other):
    x = image(9, 9, 3)
    return [layers.Conv2D(4, one, name="left")(x), layers.Conv2D(5, other, name="right")(x)]


@program
def add_channels():
    layers.Add(name="sum")(branches(3, 3))


@program
def add_height():
    layers.Add(name="sum")([one[..., :4] for one in branches(3, 5)])


@program
def add_batch_eager():
    layers.Add(name="sum")([zeros(2, 3), zeros(4, 3)])


@program
def add_built_eager():
    both = layers.Add(name="sum")
    both([zeros(2, 3), zeros(2, 3)])
    both([zeros(2, 3), torch.zeros(2, 5)])


@program
def add_alone():
    layers.Add(name="sum")(image(3))


@program
def subtract_three():
    layers.Subtract(name="less")([image(3, name=name) for name in "abc"])


@program
def concatenate():
    layers.Concatenate(name="join")(branches(3, 5))


@program
def concatenate_ranks():
    layers.Concatenate(name="join")([image(3, 4, name="a"), image(4, name="b")])


@program
def dot_sizes():
    layers.Dot(axes=1, name="dot")([image(9, name="a"), image(4, name="b")])


@program
def dot_examples():
    layers.Dot(axes=0, name="dot")([image(9, name="a"), image(9, name="b")])
