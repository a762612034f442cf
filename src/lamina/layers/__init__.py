"""Floor 6: `Layer` and every layer."""

from lamina.layers.dense import Dense
from lamina.layers.input_layer import Input, InputLayer
from lamina.layers.layer import Layer
