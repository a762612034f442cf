"""Layers that go through a sequence step by step: RNN and its cells, LSTM, GRU, SimpleRNN, and their wrappers."""

from lamina.layers.recurrent.base import RNN
from lamina.layers.recurrent.cells import StackedRNNCells
from lamina.layers.recurrent.gru import GRU, GRUCell
from lamina.layers.recurrent.lstm import LSTM, LSTMCell
from lamina.layers.recurrent.simple import SimpleRNN, SimpleRNNCell
from lamina.layers.recurrent.wrappers import Bidirectional, TimeDistributed, Wrapper

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Bidirectional",
    "GRUCell",
    "LSTMCell",
    "SimpleRNN",
    "SimpleRNNCell",
    "StackedRNNCells",
    "TimeDistributed",
    "Wrapper",
]
