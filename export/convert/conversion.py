"""Writes the export of a trained model."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence

from drnet_tf.data.fit import Fit
from drnet_tf.errors import UserError
from drnet_tf.models.family import Knob
from drnet_tf.progress import Progress, silent
from drnet_tf.runs.workdir import Trained
from drnet_tf.writing import replacing
from export.convert.fixed_file import FixedRequest, write_fixed_file
from export.flags import require_tensorflow
from export.folder import names
from export.folder.description import describe
from export.folder.export import Export, check_replaceable, write_description
from export.folder.serving_files import write_serving_files
from export.graphs.graph import RoutedGraph, prepared, read_graph
from export.graphs.plan import Plan, routed
from export.saved_model.runner import signatures_of
from export.saved_model.writer import Serving, write_saved_model
from export.tflite.converter import to_tflite
from export.tflite.operators import count_operators, not_builtin

#: How many things `convert` reports to have done.
_STEPS = 3


def convert(
    trained: Trained,
    class_names: Sequence[str],
    output: pathlib.Path | str,
    progress: Progress = silent,
    *,
    fit: Fit | None = None,
    default_threshold: float | None = None,
    plan: Plan | None = None,
    static: FixedRequest | None = None,
) -> Export:
    """Writes the export of a model.

    Args:
        trained: the model and where it comes from.
        class_names: one for each class, in order.
        output: folder to write; an older export there is replaced.
        fit: how images that a server gets as JPEG or PNG are brought to the model's size; None for
            what the run has written down.
        default_threshold: T of the SavedModel's signatures that take none; None for the family's.
        plan: how model.tflite runs the units; None for an IF around those that pay for it.
        static: the file without routing to write too, if any.

    Returns:
        What was written.

    Raises:
        UserError: `output` holds something else, there are too few or too many names, the default
            threshold is no number, the run does not say how its images are resized, or a branch of
            one's own does not convert.
    """
    config = trained.model.config
    check_replaceable(output)
    require_tensorflow()
    if len(class_names) != config.classes:
        raise UserError(f"the model has {config.classes} classes, not {len(class_names)}")
    if any("\n" in name or not name.strip() for name in class_names):
        raise UserError("a class name is empty or has a line break in it")
    knob = knob_with(trained.run.family.knob, default_threshold)
    fit = fit or trained.run.fit
    if fit is None:
        raise UserError("the run does not say how its images are brought to the model's size")
    read = read_graph(trained.model)
    graph = prepared(read)
    plan = plan or routed(graph.gateable)
    serving = Serving(class_names, fit, None if knob is None else knob.default)
    with replacing(output) as folder:
        folder.mkdir()
        progress(0, _STEPS, f"converting to {names.TFLITE_FILE}")
        model, operators = _checked_tflite(graph, plan)
        (folder / names.TFLITE_FILE).write_bytes(model)
        progress(1, _STEPS, f"writing {names.SAVED_MODEL}")
        write_saved_model(read, serving, names.saved_model_path(folder))
        write_serving_files(folder, config.image_size)
        progress(2, _STEPS, f"writing {names.DESCRIPTION_FILE}")
        facts = {}
        if static is not None:
            paths = (folder / names.STATIC_FILE, folder / names.TFLITE_FILE)
            facts["static"] = write_fixed_file(trained.model, graph, static, *paths, progress)
        (folder / names.LABELS_FILE).write_text("".join(f"{name}\n" for name in class_names))
        description = describe(
            trained,
            class_names,
            folder,
            operators,
            graph,
            plan,
            knob,
            {
                "default_threshold": serving.default_threshold,
                "encoded_images": str(fit),
                "signatures": list(signatures_of(graph.routed)),
            },
        )
        description |= facts
        write_description(folder, description)
    return Export(pathlib.Path(output), description)


def knob_with(knob: Knob | None, default: float | None) -> Knob | None:
    """Returns a family's knob with another default, if one is given.

    Raises:
        UserError: it is not one that the knob can take, or there is no knob.
    """
    if default is None:
        return knob
    if knob is None:
        raise UserError("a model without routing has no default threshold: leave it out")
    return dataclasses.replace(knob, default=knob.check(default, "the default threshold"))


def _checked_tflite(graph: RoutedGraph, plan: Plan) -> tuple[bytes, dict[str, int]]:
    own = ", ".join(graph.own_layers)
    try:
        model = to_tflite(graph, plan)
    except Exception as error:
        # Only the layers of a user can hold what the converter does not know.
        if not own:
            raise
        raise UserError(f"branch {own} does not convert to TFLite: {error}") from error
    operators = count_operators(model)
    if unknown := not_builtin(operators):
        raise UserError(
            f"{f'branch {own}' if own else 'the model'} needs operators that TFLite does not have "
            f"built in: {', '.join(unknown)}"
        )
    return model, dict(operators)
