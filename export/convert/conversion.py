"""Writes the export of a trained model."""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib
from collections.abc import Callable, Sequence

from drnet_tf.errors import UserError
from drnet_tf.runs.workdir import Trained
from drnet_tf.writing import replacing
from export.convert.fixed_file import StaticRequest, write_static_file
from export.flags import require_tensorflow
from export.folder import names
from export.folder.description import describe
from export.folder.export import check_replaceable
from export.folder.names import saved_model_path
from export.graphs.drnet.folding import read_weights
from export.graphs.drnet.network import Network
from export.graphs.plan import Structure, routed
from export.saved_model.runner import SIGNATURES
from export.saved_model.serving_files import write_serving_files
from export.saved_model.writer import Serving, write_saved_model
from export.tflite.converter import to_tflite
from export.tflite.operators import count_operators, not_builtin


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
    check_replaceable(output)
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
        announce(f"Converting to {names.TFLITE_FILE}")
        model, operators = _routed_tflite(network, structure)
        (folder / names.TFLITE_FILE).write_bytes(model)
        announce(f"Writing {names.SAVED_MODEL}")
        write_saved_model(network, serving, saved_model_path(folder))
        write_serving_files(folder, config.image_size)
        facts = {}
        if static is not None:
            facts["static"] = write_static_file(
                trained.model,
                network,
                static,
                folder / names.STATIC_FILE,
                folder / names.TFLITE_FILE,
                announce,
            )
        (folder / names.LABELS_FILE).write_text("".join(f"{name}\n" for name in class_names))
        description = describe(
            trained,
            class_names,
            folder,
            operators,
            structure,
            {
                "default_threshold": default_threshold,
                "encoded_images": names.WHOLE if whole else names.CENTRE_CROP,
                "signatures": list(SIGNATURES),
            },
        )
        description |= facts
        text = json.dumps(description, indent=1) + "\n"
        (folder / names.DESCRIPTION_FILE).write_text(text)
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


def check_threshold(threshold: float) -> None:
    """Raises:
    UserError: it is not a number.
    """
    if math.isnan(threshold):
        raise UserError("the default threshold must be a number, customarily from 0 to 1, not NaN")
