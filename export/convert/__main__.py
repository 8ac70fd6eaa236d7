"""Exports a trained model.

    python -m export.convert --workdir=runs/digits --output=exported/digits

writes exported/digits/model.tflite, saved_model/1/, labels.txt, model.json and the configuration
of TF Serving; see export/folder/export.py. What is there afterwards is whole, or as it was before.
With --static_threshold it writes model_static.tflite too, see export/convert/fixed_file.py. With
--quantization it continues with what export/quantize/__main__.py does.
"""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
from absl import flags

from drnet_tf import command_line
from drnet_tf.data.errors import DataError
from drnet_tf.data.evaluation_images import EvaluationImages
from drnet_tf.data.fit import Fit
from drnet_tf.errors import UserError
from drnet_tf.evaluation.trained import open_run_images
from drnet_tf.flags import define_run_flags, require_flags
from drnet_tf.models.family import Family, knob_of
from drnet_tf.progress import ProgressBar
from drnet_tf.runs.workdir import Run, Trained, load_trained
from drnet_tf.writing import check_folder_writable
from export.convert.branch_use import counting_images, select_all
from export.convert.conversion import convert, knob_with
from export.convert.fixed_file import MOST_USED, FixedRequest, read_branches, summary
from export.convert.gate_choice import (
    AUTO,
    CONVOLUTIONS,
    GATINGS,
    choose_plan,
    gate_table,
    measure_gates,
)
from export.flags import require_tensorflow
from export.folder import names
from export.folder.export import Export, check_replaceable
from export.graphs.graph import graph_of
from export.graphs.plan import Plan
from export.quantize.__main__ import (
    check_quantization_flags,
    define_quantization_flags,
    quantize_from_flags,
)


def read_labels(path: str) -> list[str]:
    """Reads the lines of a text file, which must be in UTF-8."""
    try:
        return pathlib.Path(path).read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a text file in UTF-8") from error


def define_flags() -> None:
    define_run_flags()
    flags.DEFINE_string("output", None, "Folder to write.")
    flags.DEFINE_string(
        "labels", None, "File with one class name per line, instead of the data set's names."
    )
    flags.DEFINE_float(
        "default_threshold",
        None,
        "T of the SavedModel's signatures that take none; the family's default if not given.",
    )
    flags.DEFINE_enum(
        "structure",
        CONVOLUTIONS,
        GATINGS,
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
    require_flags(workdir="a training run", output="the folder to write")
    # Before the model is loaded, which takes longer.
    check_replaceable(values.output)
    check_folder_writable(values.output)
    require_tensorflow()
    class_names = read_labels(values.labels) if values.labels else None
    branches = read_branches(values.static_branches)
    run = Run.load(values.workdir)
    check_routing_flags(run.family)
    quantizations = check_quantization_flags(run)
    trained = load_trained(values.workdir)
    images: Any = None  # opened only where something is read from it
    if class_names is None or values.structure == AUTO or values.static_threshold is not None:
        images = open_run_images(run, values.data_dir)
    fit = run.fit or _fit_of_data_set(run, images)
    plan = static = None
    if values.static_threshold is not None:
        static = FixedRequest(values.static_threshold, branches, images, values.static_images)
    if values.structure == AUTO:
        pixels, _ = counting_images(images, values.structure_images)
        plan = _measured_plan(trained, pixels, values.default_threshold)
    with ProgressBar("converting", patience=1.0) as bar:
        export = convert(
            trained,
            class_names or images.class_names,
            values.output,
            bar.update,
            fit=fit,
            default_threshold=values.default_threshold,
            plan=plan,
            static=static,
        )
    _print_written(export)
    if quantizations:
        quantize_from_flags(trained, export, quantizations)


def check_routing_flags(family: Family) -> None:
    """Raises a UserError where flags ask for routing that the family does not have."""
    values = flags.FLAGS
    if family.knob is not None:
        knob_with(family.knob, values.default_threshold)
        if values.static_threshold is not None:
            family.knob.check(values.static_threshold, "--static_threshold")
        return
    given = [name for name in ("default_threshold", "static_threshold") if values[name].present]
    given += ["structure"] if values.structure == AUTO else []
    if given:
        raise UserError(
            f"a model of the family {family.name} routes nothing: leave --{given[0]} out"
        )


def _fit_of_data_set(run: Run, images: EvaluationImages | None) -> Fit:
    """Finds how the images of a run of an earlier version are resized, which it does not say."""
    try:
        return (images or open_run_images(run, flags.FLAGS.data_dir)).fit
    except DataError as error:
        raise UserError(
            f"this run, of an earlier version, does not say how its images are resized, and its "
            f"data set, which does, cannot be opened: give --data_dir ({error})"
        ) from error


def _measured_plan(trained: Trained, images: np.ndarray, threshold: float | None) -> Plan:
    """Chooses the plan of least expected time for images like these."""
    graph = graph_of(trained.model)
    with ProgressBar("structure") as bar:
        times = measure_gates(graph, progress=bar.update)
    command_line.show(gate_table(times))
    at = knob_of(trained.run.family).default if threshold is None else threshold
    use = select_all(trained.model, images, at)[0].mean(axis=0)
    return choose_plan(trained.model.config, times, use)


def _print_written(export: Export) -> None:
    size = export.description["files"][names.TFLITE_FILE]["bytes"]
    skips = ""
    if export.knob is not None:
        skips = f" with {export.description['operators'].get('IF', 0)} branches that it can skip"
    command_line.show(
        f"{export.folder}: {names.TFLITE_FILE} of {size / 1e6:.2f} MB{skips}, {names.SAVED_MODEL}, "
        f"{names.LABELS_FILE}, {names.DESCRIPTION_FILE}"
    )
    if export.fixed_file is not None:
        text = summary(export.description["static"])
        command_line.show(f"{export.fixed_file.name}: {text}")


if __name__ == "__main__":
    define_flags()
    command_line.run(main)
