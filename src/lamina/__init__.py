"""lamina: the Keras API on PyTorch, whose shapes explain themselves."""
__version__ = "0.1.0"
