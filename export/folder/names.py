"""What the files of an export are called."""

from __future__ import annotations

import pathlib

TFLITE_FILE = "model.tflite"
STATIC_FILE = "model_static.tflite"
#: The quantization of `TFLITE_FILE`: none.
FLOAT32 = "float32"
SAVED_MODEL = "saved_model"
SAVED_MODEL_VERSION = "1"
LABELS_FILE = "labels.txt"
MODELS_CONFIG = "models.config"
BATCHING_CONFIG = "batching.config"
DESCRIPTION_FILE = "model.json"


def quantized_file(quantization: str) -> str:
    """Returns the name of the .tflite file of a quantization other than float32."""
    return f"model_{quantization}.tflite"


def saved_model_path(export_dir: pathlib.Path | str) -> pathlib.Path:
    """Returns the folder of the SavedModel in an export."""
    return pathlib.Path(export_dir, SAVED_MODEL, SAVED_MODEL_VERSION)
