"""Requests that TF Serving runs when it loads a model, so that the first client waits no longer.

The file is a TFRecord of `tensorflow.serving.PredictionLog`. Its messages come with
tensorflow-serving-api, which a conversion should not need for four of them: their fields that are
used are declared here, and TensorFlow has the tensors in them.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence

import tensorflow as tf
from google.protobuf import descriptor, descriptor_pb2, descriptor_pool, message_factory

from export.saved_model.tensorflow_files import file_errors

#: In the folder of a version; the name is TF Serving's.
WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
BATCHES = (1, 8)
_PACKAGE = "drnet_tf.warmup"


def write_warmup(
    signatures: Mapping[str, Mapping[str, tf.TensorSpec]], image_size: int, path: pathlib.Path
) -> None:
    """Writes a request for each signature and each of BATCHES.

    Their images are uniformly grey, which takes some bytes for any number of pixels. All units run,
    whatever the image.

    Args:
        signatures: the inputs of each by name, the first axis being the batch.
        image_size: height and width of the images in encoded form.
        path: of the file; its folder is made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    records = [record.SerializeToString() for record in _records(signatures, image_size)]
    with file_errors(path), tf.io.TFRecordWriter(os.fspath(path)) as writer:
        for record in records:
            writer.write(record)


def _records(signatures: Mapping[str, Mapping[str, tf.TensorSpec]], size: int) -> Iterator:
    grey = tf.io.encode_png(tf.fill([size, size, 3], tf.constant(128, tf.uint8))).numpy()
    record_class = message_factory.GetMessageClass(
        _messages().FindMessageTypeByName(f"{_PACKAGE}.PredictionLog")
    )
    for name, inputs in signatures.items():
        for batch in BATCHES:
            record = record_class()
            request = record.predict_log.request
            request.model_spec.signature_name = name
            for key, spec in inputs.items():
                entry = request.inputs.add(key=key)
                _fill(entry.value, spec.dtype, [batch, *spec.shape[1:]], grey)
            yield record


def _fill(tensor, dtype: tf.DType, shape: Sequence[int], grey: bytes) -> None:
    """Sets a TensorProto of one value, which stands for all of the shape."""
    tensor.dtype = dtype.as_datatype_enum
    for length in shape:
        tensor.tensor_shape.dim.add(size=length)
    if dtype == tf.string:
        tensor.string_val.append(grey)
    elif dtype == tf.uint8:
        tensor.int_val.append(128)
    else:
        # The threshold, which is the input of rank 1, must not be one of a pixel.
        tensor.float_val.append(0.5 if len(shape) == 1 else 128.0)


def _messages() -> descriptor_pool.DescriptorPool:
    """Declares the messages under names of ours; what is written does not hold their names.

    A pool of our own, since the process may have loaded those of TF Serving. A map, as
    PredictRequest has it, is written as repeated pairs.
    """
    string, message = (
        descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
        descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE,
    )
    fields: dict[str, list[tuple[str, int, str | None]]] = {
        "PredictionLog": [("predict_log", 6, "PredictLog")],
        "PredictLog": [("request", 1, "PredictRequest")],
        "PredictRequest": [("model_spec", 1, "ModelSpec"), ("inputs", 2, "Input")],
        "ModelSpec": [("signature_name", 3, None)],
        "Input": [("key", 1, None), ("value", 2, ".tensorflow.TensorProto")],
    }
    file = descriptor_pb2.FileDescriptorProto(name="drnet_tf/warmup.proto", package=_PACKAGE)
    file.syntax = "proto3"
    for name, members in fields.items():
        declared = file.message_type.add(name=name)
        for member, number, type_name in members:
            field = declared.field.add(name=member, number=number)
            field.type = string if type_name is None else message
            field.label = field.LABEL_REPEATED if member == "inputs" else field.LABEL_OPTIONAL
            if type_name:
                field.type_name = type_name if "." in type_name else f".{_PACKAGE}.{type_name}"
    pool = descriptor_pool.DescriptorPool()
    for needed in _with_dependencies(tf.make_tensor_proto(0.0).DESCRIPTOR.file):
        pool.AddSerializedFile(needed.serialized_pb)
        file.dependency.append(needed.name)
    pool.AddSerializedFile(file.SerializeToString())
    return pool


def _with_dependencies(file: descriptor.FileDescriptor) -> list[descriptor.FileDescriptor]:
    """Lists a file of messages behind those that it depends on."""
    found = {f.name: f for needed in file.dependencies for f in _with_dependencies(needed)}
    return [*found.values(), file]
