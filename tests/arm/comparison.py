"""What the files of an export say on arm64, compared with x86-64."""

import dataclasses
import pathlib
import tempfile
import warnings
from collections.abc import Sequence

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from drnet_tf.models.cost import CostTable
from export.graphs.drnet.borderline import MARGIN, borderline
from export.quantize.quantization import CALIBRATED
from export.tflite.native_runner import compile_runner, run_native
from export.tflite.runner import Outputs, TFLiteRunner
from export.verify.verification import TOLERANCE, Comparison, compare
from tests.arm.arm64_root import Arm64

PROGRAM = pathlib.Path(__file__).with_name("classify_on_arm.py")
#: Makes the C program for arm64.
CROSS_COMPILER = "aarch64-linux-gnu-gcc"


@dataclasses.dataclass(frozen=True)
class Allowed:
    """How far results may be off.

    Args:
        error: of a logit, relative to the largest logit of the image, or of a probability.
        margin: of a weight or a sum that decides on a branch; see `borderline`.
    """

    error: float
    margin: float


def allowed(quantization: str) -> Allowed:
    """What rounding may change.

    In float32 it is the last digits. Where convolutions are computed in int8, they may tip a value
    that lies between two of 256 levels, and then all that follows is off by part of a level.
    """
    if quantization in CALIBRATED:
        return Allowed(error=0.05, margin=0.01)
    return Allowed(error=TOLERANCE, margin=MARGIN)


def compare_on_arm(
    arm: Arm64,
    files: dict[str, pathlib.Path],
    cost: CostTable,
    images: np.ndarray,
    thresholds: Sequence[float],
) -> list[Comparison]:
    """Runs .tflite files on both.

    Args:
        files: by quantization.
        cost: of the network.
        images: float32 [images, image_size, image_size, 3] in 0..255.
        thresholds: values of T.

    Returns:
        A comparison of each file at each threshold; its `runtime` is the quantization.
    """
    with tempfile.TemporaryDirectory() as folder:
        inputs, outputs = pathlib.Path(folder, "inputs.npz"), pathlib.Path(folder, "outputs.npz")
        np.savez(inputs, images=images, thresholds=np.array(thresholds, np.float32))
        arm.run_python(PROGRAM, inputs, outputs, *files.values())
        with np.load(outputs) as found:
            values = dict(found)
    comparisons = []
    for number, (kind, path) in enumerate(files.items()):
        here = TFLiteRunner(path)
        for row, threshold in enumerate(thresholds):
            actual = Outputs(
                values[f"{number}/logits"][row, :, 0],
                values[f"{number}/probabilities"][row, :, 0],
                values[f"{number}/selected"][row] > 0.5,
                values[f"{number}/flops"][row, :, 0],
            )
            weights = recalibrated_weights(path, images, threshold, actual.selected.shape[1:])
            close = borderline(weights, threshold, allowed(kind).margin)
            expected = here.run_all(images, threshold)
            comparisons.append(compare(kind, threshold, expected, actual, close, cost))
    return comparisons


def recalibrated_weights(
    model: pathlib.Path, images: np.ndarray, threshold: float, shape: Sequence[int]
) -> np.ndarray:
    """What the selection decides on, read from inside of a .tflite file.

    Args:
        shape: cells, connections, branches.

    Returns:
        float32 [images, cells, connections, branches].
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that keeping all tensors takes memory
        interpreter = Interpreter(
            model_path=str(model),
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            experimental_preserve_all_tensors=True,
        )
    runner = TFLiteRunner(interpreter)
    # In the order of the cells; the last softmax, of the classes, is outside of this scope.
    tensors = [
        details["index"]
        for details in interpreter.get_tensor_details()
        if details["name"].startswith("router") and details["name"].endswith("/Softmax")
    ]
    if not tensors:  # A network without routers weighs all branches alike.
        return np.full([len(images), *shape], 1 / shape[-1], np.float32)
    assert len(tensors) == shape[0], f"{len(tensors)} routers in {shape[0]} cells"
    runner.set_threshold(threshold)
    weights = []
    for image in images:
        runner.set_image(image)
        runner.invoke()
        weights.append([interpreter.get_tensor(index).reshape(shape[1:]) for index in tensors])
    return np.array(weights)


def problems(comparison: Comparison) -> list[str]:
    """What is wrong, in words."""
    found = []
    if comparison.wrong_selections:
        found.append(f"{comparison.wrong_selections} branches are selected differently")
    if comparison.wrong_macs:
        found.append(f"the MACs of {comparison.wrong_macs} images are not of their selection")
    if not comparison.compared:
        found.append("no logits could be compared: every image has a decision that came out apart")
    error = max(comparison.logits_error, comparison.probabilities_error)
    most = allowed(comparison.runtime).error
    if not error <= most:
        found.append(f"logits or probabilities differ by {error:.1e}, more than {most:.0e}")
    return [f"{comparison.runtime} at T={comparison.threshold:g}: {text}" for text in found]


def compare_native(
    arm: Arm64, model: pathlib.Path, images: np.ndarray, threshold: float
) -> list[str]:
    """Runs the C program on arm64.

    Returns:
        What differs from the Python interpreter on x86-64, in words.

    Raises:
        UserError: it does not compile, or it fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        program = pathlib.Path(folder, "run_tflite")
        compile_runner(program, CROSS_COMPILER, arm.litert)
        results = run_native(program, model, images, threshold, arm.under)
    expected = TFLiteRunner(model).run_all(images, threshold)
    close = borderline(
        recalibrated_weights(model, images, threshold, expected.selected.shape[1:]), threshold
    ).any(axis=(1, 2, 3))
    found = []
    for i in np.flatnonzero(~close):
        probability = expected.probabilities[i, results[i].label]
        if abs(results[i].probability - probability) > TOLERANCE:
            found.append(f"image {i}: {results[i].probability:.6f}, not {probability:.6f}")
        if results[i].flops != expected.flops[i]:
            found.append(f"image {i}: {results[i].flops} MACs, not {expected.flops[i]:.0f}")
    return [f"C program, {text}" for text in found]
