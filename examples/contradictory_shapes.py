"""Every layer declares an input_shape, and only the first one's counts. Why no error? Now there is a warning."""

from tensorflow import keras
from tensorflow.keras import layers


def convolutional():
    return keras.Sequential(
        [
            layers.Conv2D(16, (3, 3), activation="relu", input_shape=(28, 28, 1)),
            layers.Conv2D(32, (3, 3), activation="relu", input_shape=(28, 28, 1)),
            layers.MaxPooling2D((3, 3), input_shape=(28, 28, 1)),
            layers.Conv2D(32, (3, 3), activation="relu", input_shape=(14, 14, 1)),
            layers.Conv2D(16, (3, 3), activation="relu", input_shape=(14, 14, 1)),
            layers.GlobalMaxPooling2D(input_shape=(7, 7, 1)),
            layers.Dense(10, activation="softmax", input_shape=(10,)),
        ]
    )


def dense():
    return keras.Sequential(
        [
            layers.Dense(32, activation="relu", input_shape=(4,)),
            layers.Dense(16, activation="sigmoid", input_shape=(44,)),
        ]
    )


def train(model, x, y, epochs=1):
    model.compile(
        optimizer=keras.optimizers.Adam(),
        loss=keras.losses.CategoricalCrossentropy(),
        metrics=[keras.metrics.CategoricalAccuracy()],
    )
    return model.fit(x, y, batch_size=256, epochs=epochs, verbose=2)


def main(epochs=2):
    model = convolutional()
    model.summary()
    (x, y), _ = keras.datasets.fashion_mnist.load_data(subset="bundled")
    history = train(model, x[..., None] / 255.0, keras.utils.to_categorical(y, 10), epochs)
    stacked = dense()
    stacked.summary()
    return model, stacked, history


if __name__ == "__main__":
    main()
