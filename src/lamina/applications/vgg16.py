"""The names of `keras.applications.vgg16`."""

from lamina.applications.vgg import VGG16, decode_predictions, preprocess_input

__all__ = ["VGG16", "decode_predictions", "preprocess_input"]
