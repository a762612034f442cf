"""Sources of data as batches, and the small helpers that prepare data."""

from lamina.data.arrays import train_validation_split
from lamina.data.download import DownloadError, get_file
from lamina.data.encoding import normalize, pad_sequences, to_categorical
from lamina.data.loaders import BatchLoader, make_loader
from lamina.data.py_dataset import PyDataset, Sequence

__all__ = [
    "BatchLoader",
    "DownloadError",
    "PyDataset",
    "Sequence",
    "get_file",
    "make_loader",
    "normalize",
    "pad_sequences",
    "to_categorical",
    "train_validation_split",
]
