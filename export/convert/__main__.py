"""Exports a trained model.

    python -m export.convert --workdir=runs/digits --output=exported/digits

writes exported/digits/model.tflite, saved_model/1/, labels.txt, model.json and what TF Serving is
configured with; see export/folder/export.py. What is there afterwards is whole, or as it was
before. With --static_threshold there is model_static.tflite too, see export/convert/fixed_file.py.
With --quantization it goes on with what export/quantize/__main__.py does.
"""

from __future__ import annotations

import math
import pathlib

import numpy as np
import rich.console
from absl import flags

from drnet_tf import command_line
from drnet_tf.errors import UserError
from drnet_tf.progress import ProgressBar
from drnet_tf.runs.workdir import Trained, load_trained
from drnet_tf.writing import check_folder_writable
from export.convert.branch_use import counting_images, select_all
from export.convert.conversion import check_threshold, convert
from export.convert.fixed_file import MOST_USED, StaticRequest, read_branches, summary
from export.convert.gate_choice import (
    AUTO,
    CONVOLUTIONS,
    STRUCTURES,
    choose_structure,
    gate_table,
    measure_gates,
)
from export.flags import open_run_images, require_tensorflow
from export.folder import names
from export.folder.export import check_replaceable
from export.graphs.drnet.folding import read_weights
from export.graphs.plan import Structure
from export.quantize.__main__ import (
    define_quantization_flags,
    fine_tuning_from_flags,
    quantize_from_flags,
)
from export.quantize.quantization import parse_quantizations
from export.saved_model.writer import Serving


def _measured_structure(trained: Trained, images: np.ndarray, threshold: float) -> Structure:
    """The structure of least expected time for images like these."""
    with ProgressBar("structure") as bar:
        times = measure_gates(read_weights(trained.model), progress=bar.update)
    rich.console.Console().print(gate_table(times))
    use = select_all(trained.model, images, threshold)[0].mean(axis=0)
    return choose_structure(trained.model.config, times, use)


def read_labels(path: str) -> list[str]:
    """The lines of a text file."""
    try:
        return pathlib.Path(path).read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a text file in UTF-8") from error


def define_flags() -> None:
    """Defines the flags of this command; not on import, so that others can use its functions."""
    flags.DEFINE_string("workdir", None, "Folder of a training run.")
    flags.DEFINE_string("output", None, "Folder to write.")
    flags.DEFINE_string("data_dir", None, "Prepared data set, instead of the run's.")
    flags.DEFINE_string("labels", None, "File with a class name a line, instead of the data set's.")
    flags.DEFINE_float(
        "default_threshold",
        Serving.default_threshold,
        "T of the SavedModel's signatures that take none; 1 runs all branches.",
    )
    flags.DEFINE_enum(
        "structure",
        CONVOLUTIONS,
        STRUCTURES,
        "Which branches sit in an IF: those with parameters, or where it pays at the default "
        "threshold, by times measured on this machine and the branches that images select.",
    )
    flags.DEFINE_integer(
        "structure_images", 500, "Images to count branches on, for auto.", lower_bound=1
    )
    define_quantization_flags("none")
    flags.DEFINE_float(
        "static_threshold", None, "Write model_static.tflite too, of the branches used at this T."
    )
    flags.DEFINE_string(
        "static_branches",
        MOST_USED,
        f"How many branches of a connection it keeps; {MOST_USED}: as many as images select.",
    )
    flags.DEFINE_integer("static_images", 1000, "Images to count branches on.", lower_bound=1)


def main() -> None:
    values = flags.FLAGS
    quantizations = parse_quantizations(values.quantization)
    fine_tuning_from_flags()
    if not values.workdir or not values.output:
        raise UserError("needed are --workdir, a training run, and --output, the folder to write")
    # Before the model is loaded, which takes longer.
    check_replaceable(values.output)
    check_folder_writable(values.output)
    check_threshold(values.default_threshold)
    require_tensorflow()
    class_names = read_labels(values.labels) if values.labels else None
    branches = read_branches(values.static_branches)
    if values.static_threshold is not None and not math.isfinite(values.static_threshold):
        raise UserError(f"--static_threshold must be finite, not {values.static_threshold}")
    trained = load_trained(values.workdir)
    # Without the data set: who trains on random crops evaluates on the central one.
    whole = not trained.run.settings.get("random_resized_crop", False)
    static = structure = None
    automatic = values.structure == AUTO
    if class_names is None or automatic or values.static_threshold is not None:
        dataset = open_run_images(trained.run, values.data_dir)
        whole = dataset.whole
        if class_names is None:
            class_names = list(dataset.class_names)
        if values.static_threshold is not None:
            static = StaticRequest(values.static_threshold, branches, dataset, values.static_images)
        if automatic:
            images, _ = counting_images(dataset, values.structure_images)
            structure = _measured_structure(trained, images, values.default_threshold)
    console = rich.console.Console()
    with console.status("Reading the weights") as status:
        result = convert(
            trained,
            class_names,
            values.output,
            status.update,
            default_threshold=values.default_threshold,
            whole=whole,
            structure=structure,
            static=static,
        )
    console.print(
        f"{result.folder}: {names.TFLITE_FILE} of {result.tflite_bytes / 1e6:.2f} MB with "
        f"{result.operators.get('IF', 0)} branches that it can skip, {names.SAVED_MODEL}, "
        f"{names.LABELS_FILE}, {names.DESCRIPTION_FILE}",
        highlight=False,
        soft_wrap=True,
    )
    if static is not None:
        text = summary(result.description["static"])
        console.print(f"{names.STATIC_FILE}: {text}", highlight=False, soft_wrap=True)
    if quantizations:
        quantize_from_flags(trained, values.output, quantizations, values.data_dir)


if __name__ == "__main__":
    define_flags()
    command_line.run(main)
