"""Why DenseNet121 has 7,031,232 parameters at 224×224 and at 512×512 (with one channel: 6,272 fewer).

Runs with `python examples/parameter_count.py` after `import lamina as keras`, and unchanged under `lamina run`.
"""

import keras
from keras.applications.densenet import DenseNet121
from keras.layers import Dense
from keras.models import Sequential


def build(size):
    base = DenseNet121(include_top=False, weights=None, input_shape=(size, size, 1), pooling="avg", name="densenet121")
    return Sequential([base, Dense(2, activation="sigmoid")])


def main():
    models = [build(size) for size in (224, 512)]
    for model in models:
        model.summary()
    print(models[1].explain().conclusion)
    print(models[1].layers[0].explain("conv1_conv"))
    print(models[1].layers[0].explain("avg_pool"))
    return models


if __name__ == "__main__":
    main()
    print("made with", keras.__name__)
