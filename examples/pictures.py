"""The plots of the examples, written to `build/` as PNG files.

Nothing here is about derivatives: arrays of `wengert` go to matplotlib as they are.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import wengert as wg

BUILD = Path(__file__).parent.parent / "build"


def losses(axes, native, eager, every, **labels):
    """The losses of both engines: a line, and circles around every so manieth point."""
    axes.semilogy(native, linewidth=1, label="native engine")
    x = range(0, len(eager), every)
    axes.semilogy(x, eager[::every], "o", ms=5, fillstyle="none", label="eager engine")
    axes.set(**labels)
    axes.legend()


def save(figure, name):
    """Write a figure to the folder of results."""
    BUILD.mkdir(exist_ok=True)
    figure.savefig(BUILD / name, dpi=120)
    print(f"plot: build/{name}\n")


def digits(images, answers, native, eager):
    """Losses, and the first test images under the network's answers."""
    figure = Figure((11, 4.2), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1.2, 1))
    labels = {"xlabel": "minibatch", "ylabel": "cross-entropy", "title": "training"}
    losses(left.subplots(), native, eager, 4, **labels)
    for axes, image, answer in zip(right.subplots(4, 6).flat, images, answers, strict=False):
        axes.imshow(image[..., 0], cmap="gray_r")
        axes.set_title(str(answer), fontsize=9)
        axes.axis("off")
    save(figure, "digits.png")


def oscillator(times, data, positions, parameters, native, eager):
    """The motion as measured, and for parameters (guess, truth, fit); the losses."""
    figure = Figure((11, 4.2), layout="constrained")
    motion, curve = figure.subplots(1, 2, width_ratios=(1.6, 1))
    motion.plot(times, data, "k.", label="measured")
    fine = np.linspace(0.01, times[-1], 400)
    styles = {"guess": ":", "truth": "-", "fit": "--"}
    for (name, style), values in zip(styles.items(), parameters, strict=True):
        motion.plot(fine, wg.jit(positions)(values, fine), style, label=name)
    motion.set(xlabel="time", ylabel="position", title="a damped oscillator")
    motion.legend()
    labels = {"xlabel": "BFGS step", "ylabel": "mean squared error", "title": "fit"}
    losses(curve, native, eager, 1, **labels)
    save(figure, "oscillator.png")
