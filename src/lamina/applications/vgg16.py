"""The names of `keras.applications.vgg16`."""

from lamina.applications.vgg import VGG16, preprocess_input

__all__ = ["VGG16", "preprocess_input"]
