"""Exports a trained model.

    python -m export.convert --workdir=runs/digits --output=exported/digits

writes exported/digits/model.tflite, saved_model/1/, labels.txt, model.json and what TF Serving is
configured with; see export/artifacts.py. What is there afterwards is whole, or as it was before.
With --static_threshold there is model_static.tflite too, see export/static_file.py. With
--quantization it goes on with what export/quantize.py does.
"""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib
from collections.abc import Callable, Sequence

import numpy as np
import rich.console
from absl import flags

from drnet_tf import command_line
from drnet_tf.errors import UserError
from drnet_tf.progress import ProgressBar
from drnet_tf.training.workdir import Trained, load_trained
from drnet_tf.writing import check_folder_writable, replacing
from export import artifacts
from export.branch_use import counting_images, select_all
from export.inspection import count_operators, not_builtin
from export.quantize import (
    define_quantization_flags,
    fine_tuning_from_flags,
    parse_quantizations,
    quantize_from_flags,
)
from export.run_data import open_run_images, require_tensorflow
from export.saved_model import SIGNATURES, Serving, write_saved_model
from export.static_file import MOST_USED, StaticRequest, read_branches, summary, write_static_file
from export.structure import Structure, routed
from export.structure_choice import (
    AUTO,
    CONVOLUTIONS,
    STRUCTURES,
    choose_structure,
    gate_table,
    measure_gates,
)
from export.tf_serving import write_serving_files
from export.tflite import to_tflite
from export.weights import Network, read_weights


@dataclasses.dataclass(frozen=True)
class ExportResult:
    """What was written.

    Args:
        folder: the export.
        tflite_bytes: size of model.tflite.
        operators: how often each operator occurs in it.
        description: the content of model.json.
    """

    folder: pathlib.Path
    tflite_bytes: int
    operators: dict[str, int]
    description: dict


def convert(
    trained: Trained,
    class_names: Sequence[str],
    output: pathlib.Path | str,
    announce: Callable[[str], None] = lambda step: None,
    *,
    default_threshold: float = Serving.default_threshold,
    whole: bool = Serving.whole,
    structure: Structure | None = None,
    static: StaticRequest | None = None,
) -> ExportResult:
    """Writes the export of a model.

    Args:
        trained: the model and where it comes from.
        class_names: one for each class, in order.
        output: folder to write; an older export there is replaced.
        announce: called with what is being done.
        default_threshold: T of the SavedModel's signatures that take none.
        whole: whether evaluation resizes the images of the data set whole: images that a server
            gets as JPEG or PNG are brought to the model's size in the same way.
        structure: how model.tflite runs the branches; None for an IF around every one that has
            parameters.
        static: the file without routing to write too, if any.

    Raises:
        UserError: `output` holds something else, there are too few or too many names, the default
            threshold is no number, or a branch of one's own does not convert.
    """
    config = trained.model.config
    artifacts.check_replaceable(output)
    require_tensorflow()
    if len(class_names) != config.classes:
        raise UserError(f"the model has {config.classes} classes, not {len(class_names)}")
    if any("\n" in name or not name.strip() for name in class_names):
        raise UserError("a class name is empty or has a line break in it")
    check_threshold(default_threshold)
    network = read_weights(trained.model)
    structure = structure or routed(config)
    serving = Serving(class_names, default_threshold, whole)
    with replacing(output) as folder:
        folder.mkdir()
        announce(f"Converting to {artifacts.TFLITE_FILE}")
        model, operators = _routed_tflite(network, structure)
        (folder / artifacts.TFLITE_FILE).write_bytes(model)
        announce(f"Writing {artifacts.SAVED_MODEL}")
        write_saved_model(network, serving, artifacts.saved_model_path(folder))
        write_serving_files(folder, config.image_size)
        facts = {}
        if static is not None:
            facts["static"] = write_static_file(
                trained.model,
                network,
                static,
                folder / artifacts.STATIC_FILE,
                folder / artifacts.TFLITE_FILE,
                announce,
            )
        (folder / artifacts.LABELS_FILE).write_text("".join(f"{name}\n" for name in class_names))
        description = artifacts.describe(
            trained,
            class_names,
            folder,
            operators,
            structure,
            {
                "default_threshold": default_threshold,
                "encoded_images": artifacts.WHOLE if whole else artifacts.CENTRE_CROP,
                "signatures": list(SIGNATURES),
            },
        )
        description |= facts
        text = json.dumps(description, indent=1) + "\n"
        (folder / artifacts.DESCRIPTION_FILE).write_text(text)
    return ExportResult(pathlib.Path(output), len(model), operators, description)


def _routed_tflite(network: Network, structure: Structure) -> tuple[bytes, dict[str, int]]:
    own = sorted({network.config.branches[key[1]] for cell in network.cells for key in cell.layers})
    try:
        model = to_tflite(network, structure)
    except Exception as error:
        # Only the layers of a user can hold what the converter does not know.
        if not own:
            raise
        raise UserError(f"branch {', '.join(own)} does not convert to TFLite: {error}") from error
    operators = count_operators(model)
    if unknown := not_builtin(operators):
        raise UserError(
            f"branch {', '.join(own)} needs operators that TFLite does not have built in: "
            f"{', '.join(unknown)}"
        )
    return model, dict(operators)


def _measured_structure(trained: Trained, images: np.ndarray, threshold: float) -> Structure:
    """The structure of least expected time for images like these."""
    with ProgressBar("structure") as bar:
        times = measure_gates(read_weights(trained.model), progress=bar.update)
    rich.console.Console().print(gate_table(times))
    use = select_all(trained.model, images, threshold)[0].mean(axis=0)
    return choose_structure(trained.model.config, times, use)


def check_threshold(threshold: float) -> None:
    """Raises:
    UserError: it is not a number.
    """
    if math.isnan(threshold):
        raise UserError("the default threshold must be a number, customarily from 0 to 1, not NaN")


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
    artifacts.check_replaceable(values.output)
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
        f"{result.folder}: {artifacts.TFLITE_FILE} of {result.tflite_bytes / 1e6:.2f} MB with "
        f"{result.operators.get('IF', 0)} branches that it can skip, {artifacts.SAVED_MODEL}, "
        f"{artifacts.LABELS_FILE}, {artifacts.DESCRIPTION_FILE}",
        highlight=False,
        soft_wrap=True,
    )
    if static is not None:
        text = summary(result.description["static"])
        console.print(f"{artifacts.STATIC_FILE}: {text}", highlight=False, soft_wrap=True)
    if quantizations:
        quantize_from_flags(trained, values.output, quantizations, values.data_dir)


if __name__ == "__main__":
    define_flags()
    command_line.run(main)
