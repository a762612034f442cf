"""Where did the image go? Conv2D on Input((1, 32, 32)) gives (None, 1, 32, 10). Written as for Keras 1."""

from keras import backend
from keras.layers import Convolution2D, Input


def main():
    x = Input((1, 32, 32))
    last = Convolution2D(nb_filter=10, nb_row=8, nb_col=8, subsample=(1, 1), border_mode="same")(x)
    print("read as", backend.image_data_format(), "gives", last.shape)
    convolution = Convolution2D(10, 8, 8, border_mode="same", dim_ordering="th")
    first = convolution(x)
    print("read as channels_first gives", first.shape, "with", convolution.count_params(), "parameters")
    return last, first, convolution.count_params()


if __name__ == "__main__":
    main()
