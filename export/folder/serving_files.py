"""Writes what TF Serving needs beside a SavedModel: its configuration, warm-up, the .tflite.

saved_model/1/model.tflite    for --prefer_tflite_model; the same file as the export's own
saved_model/1/assets.extra/   requests to warm up with
models.config                 for --model_config_file
batching.config               for --batching_parameters_file with --enable_batching
"""

from __future__ import annotations

import os
import pathlib
import shutil

import tensorflow as tf

from export.folder import names
from export.folder.names import saved_model_path
from export.saved_model.runner import SavedModelRunner
from export.saved_model.warmup import WARMUP_FILE, write_warmup

MODEL_NAME = "drnet"
#: Where the folder of the export is mounted in the container.
MOUNTED_AT = "/models/drnet"

_MODELS = f"""\
# Mount the folder of this file at {MOUNTED_AT}, or change base_path.
model_config_list {{
  config {{
    name: "{MODEL_NAME}"
    base_path: "{MOUNTED_AT}/{names.SAVED_MODEL}"
    model_platform: "tensorflow"
  }}
}}
"""

_BATCHING = """\
# Requests that arrive within a millisecond are classified together. Where latency matters more than
# throughput lower the timeout; on a server with many cores raise both.
max_batch_size { value: 32 }
batch_timeout_micros { value: 1000 }
max_enqueued_batches { value: 100 }
"""


def write_serving_files(folder: pathlib.Path, image_size: int) -> None:
    """Completes an export that has a SavedModel and a .tflite."""
    version = saved_model_path(folder)
    _link_or_copy(folder / names.TFLITE_FILE, version / names.TFLITE_FILE)
    signatures = {
        name: {
            key: spec
            for key, spec in function.structured_input_signature[1].items()
            if isinstance(spec, tf.TensorSpec)
        }
        for name, function in SavedModelRunner(version).signatures.items()
    }
    write_warmup(signatures, image_size, version / WARMUP_FILE)
    (folder / names.MODELS_CONFIG).write_text(_MODELS)
    (folder / names.BATCHING_CONFIG).write_text(_BATCHING)


def _link_or_copy(source: pathlib.Path, target: pathlib.Path) -> None:
    """Gives a file a second name, or a copy where the file system has no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
