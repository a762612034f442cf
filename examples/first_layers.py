"""Features from the first 15 layers of ResNet50: which output is which, and is the cut inside a block?"""

import tensorflow as tf
from tensorflow.keras.applications import ResNet50
from tensorflow.keras.layers import concatenate
from tensorflow.keras.models import Model
from tensorflow.keras.utils import plot_model


def build():
    base = ResNet50(
        include_top=False, weights=None, input_shape=(100, 100, 3), pooling="max", classifier_activation="relu"
    )
    return Model(inputs=base.input, outputs=[layer.output for layer in base.layers[:15]])


def main(folder="."):
    features = build()
    images = [tf.random.normal((2, 100, 100, 3), seed=number) for number in range(3)]
    results = [features(image) for image in images]
    for index in (0, 14):
        joined = concatenate([result[index] for result in results])
        print(f"output {index}, {features.output_names[index]}: three joined have the shape", tuple(joined.shape))
    for suffix in ("svg", "png"):
        plot_model(features, f"{folder}/first_layers.{suffix}", show_shapes=True, expand_nested=True)
    print(features.count_params(), "parameters")
    return features, results


if __name__ == "__main__":
    main()
