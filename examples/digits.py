"""A convolutional network learns scikit-learn's handwritten digits, one native call per epoch.

A model is a function of a tree of parameters. `train_epoch` shuffles, takes the gradient for
every minibatch and updates the parameters, all inside one `jit`: the random permutation, the
scan over minibatches, the convolutions and their derivatives become one piece of machine code.
The eager engine (NumPy, one operation after the other) runs the same function; the losses must
agree. Run it with `python examples/digits.py`; the plot goes to `build/digits.png`.
"""

from __future__ import annotations

import time

import numpy as np
import pictures
from sklearn.datasets import load_digits

import wengert as wg
import wengert.numpy as wnp
from wengert import lax, nn, random

BATCH = 32


def initial(key):
    """Parameters of two convolutions and a dense layer: a tree of arrays."""
    init = nn.initializers.he_normal()
    shapes = {"first": (3, 3, 1, 16), "second": (3, 3, 16, 32), "dense": (4 * 4 * 32, 10)}
    keys = random.split(key, len(shapes))
    return {
        name: {"w": init(key, shape), "b": wnp.zeros(shape[-1])}
        for key, (name, shape) in zip(keys, shapes.items(), strict=True)
    }


def convolution(layer, x):
    """A 3 x 3 convolution of images (n, height, width, channels), and its activation.

    GELU and mean pooling are smooth. ReLU and max pooling learn as well, but where two engines
    round to different sides of a kink, their training parts company.
    """
    layout = ("NHWC", "HWIO", "NHWC")
    x = lax.conv_general_dilated(x, layer["w"], (1, 1), "SAME", dimension_numbers=layout)
    return nn.gelu(x + layer["b"])


def logits(params, images):
    """Ten numbers for each image."""
    x = convolution(params["second"], convolution(params["first"], images))
    x = lax.reduce_window(x, 0.0, lax.add, (1, 2, 2, 1), (1, 2, 2, 1), "VALID") / 4
    return x.reshape(len(x), -1) @ params["dense"]["w"] + params["dense"]["b"]


def loss(params, images, labels):
    """Mean cross-entropy."""
    log_probabilities = nn.log_softmax(logits(params, images))
    return -wnp.mean(wnp.take_along_axis(log_probabilities, labels[:, None], axis=1))


@wg.jit
def accuracy(params, images, labels):
    """The fraction of images that are recognised."""
    return wnp.mean(wnp.argmax(logits(params, images), axis=1) == labels)


def momentum(params, velocity, gradient, rate=0.05, keep=0.9):
    """One step of gradient descent with momentum (Polyak, 1964), on whole trees."""
    velocity = wg.tree.map(lambda v, g: keep * v - rate * g, velocity, gradient)
    return wg.tree.map(lambda p, v: p + v, params, velocity), velocity


def train_epoch(state, key, images, labels):
    """One pass over shuffled minibatches: the new state, and the loss of every minibatch."""

    def train_step(state, batch):
        params, velocity = state
        value, gradient = wg.value_and_grad(loss)(params, images[batch], labels[batch])
        return momentum(params, velocity, gradient), value

    count = len(labels) // BATCH
    order = random.permutation(key, len(labels))[: count * BATCH]
    return lax.scan(train_step, state, order.reshape(count, BATCH))


def train(params, images, labels, epochs, engine="native"):
    """The trained parameters, the losses, and the seconds that each epoch took."""
    run = wg.jit(train_epoch, engine=engine)
    state = params, wg.tree.map(wnp.zeros_like, params)
    losses, seconds = [], []
    for epoch in range(epochs):
        key = random.fold_in(random.key(1), epoch)
        start = time.perf_counter()
        state, values = run(state, key, images, labels)
        seconds.append(time.perf_counter() - start)
        losses.append(np.asarray(values))
    return state[0], np.concatenate(losses), seconds


def rounded_once(params):
    """The parameters, each moved by one unit of float32 rounding."""
    return wg.tree.map(lambda p: p * np.float32(1 + 2.0**-23), params)


def load():
    """1,437 images for training and 360 for testing, (n, 8, 8, 1) in [0, 1], with labels."""
    images, labels = load_digits(return_X_y=True)
    images = np.float32(images / 16).reshape(-1, 8, 8, 1)
    order = np.random.default_rng(0).permutation(len(labels))
    return [(images[part], labels[part]) for part in np.split(order, [1437])]


def main():
    training, testing = load()
    params = initial(random.key(0))
    fitted, native, seconds = train(params, *training, epochs=10)
    _, eager, eager_seconds = train(params, *training, epochs=3, engine="eager")
    _, moved, _ = train(rounded_once(params), *training, epochs=3)
    score = accuracy(fitted, *testing)
    start = native[: len(eager)]
    gap, unit = abs(start - eager).max(), abs(start - moved).max()
    print("digits: minibatch   native loss   eager loss")
    for i in range(0, len(eager), 16):
        print(f"{i:17} {native[i]:13.8f} {eager[i]:12.8f}")
    print(f"largest difference {gap:.1e}; one rounding of the parameters makes {unit:.1e}")
    print(f"seconds for the first epoch, which is compiled: {seconds[0]:.2f}")
    print(f"seconds for others: native {min(seconds):.3f}, eager {min(eager_seconds):.2f}")
    print(f"recognised of the test images: {score:.1%}")
    answers = wnp.argmax(logits(fitted, testing[0]), axis=1)
    pictures.digits(testing[0], answers, native, eager)
    return bool(score >= 0.97 and gap <= 4 * unit)


if __name__ == "__main__":
    raise SystemExit(not main())
