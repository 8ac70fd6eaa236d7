"""Reads what a .tflite file holds: inputs, outputs, operators, weights.

    python -m export.tflite.facts '{"file": "model.tflite"}'

is how export/inspect.py has a file read that it does not know: LiteRT may end the process where a
file is damaged so that it still looks whole. This module imports LiteRT only.
"""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from export.tflite.child_answer import answer
from export.tflite.delegation import delegated_nodes
from export.tflite.operators import count_operators, not_builtin, read_model

_IDENTIFIER = b"TFL3"  # at byte 4 of every file
_TYPES = {code: name for name, code in vars(schema.TensorType).items() if not name.startswith("_")}


@dataclasses.dataclass(frozen=True)
class TensorFacts:
    """Describes an input or an output.

    Args:
        name: in its signature; that of the tensor where there is no signature.
        shape: -1 where it may vary.
        type: its name in the TFLite schema, in lower case: "float32".
    """

    name: str
    shape: tuple[int, ...]
    type: str


@dataclasses.dataclass(frozen=True)
class Signature:
    """Describes a way to call the model. That of a file without signatures has no name.

    Args:
        inputs, outputs: sorted by name.
    """

    name: str
    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]


@dataclasses.dataclass(frozen=True)
class ModelFacts:
    """Describes a .tflite file in numbers.

    Args:
        signatures: in the order of the file.
        subgraphs: how many; each IF has two besides the main one, which some IFs share.
        operators: how often each occurs, over all subgraphs, most frequent first.
        not_builtin: names of those that a plain LiteRT does not have.
        delegated: how many of them XNNPACK takes over on this machine; of the subgraphs of which
            that is known.
        nodes: operators of these subgraphs.
        weight_bytes: of all constants.
        file_bytes: of the file.
    """

    signatures: tuple[Signature, ...]
    subgraphs: int
    operators: dict[str, int]
    not_builtin: tuple[str, ...]
    delegated: int
    nodes: int
    weight_bytes: int
    file_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields, `ifs`, and `delegated_share`, of the nodes."""
        share = round(self.delegated / self.nodes, 4) if self.nodes else 0.0
        return dataclasses.asdict(self) | {
            "ifs": self.operators.get("IF", 0),
            "delegated_share": share,
        }


def model_facts(model: bytes) -> ModelFacts:
    """Reads a file.

    Raises:
        ValueError: it is no .tflite file, or a damaged one.
    """
    if model[4:8] != _IDENTIFIER:
        raise ValueError("it is no .tflite file: TFL3 is missing at its head")
    try:
        # It follows all offsets of the file, which the reader in Python trusts.
        Interpreter(model_content=model)
        return _facts(model)
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"it is damaged, LiteRT cannot load it: {error}") from error


def _facts(model: bytes) -> ModelFacts:
    root = read_model(model)
    operators = count_operators(model)
    known = [
        (count, len(subgraph.operators))
        for count, subgraph in zip(delegated_nodes(model), root.subgraphs, strict=True)
        if count is not None
    ]
    return ModelFacts(
        signatures=_signatures(root),
        subgraphs=len(root.subgraphs),
        operators=dict(sorted(operators.items(), key=lambda item: (-item[1], item[0]))),
        not_builtin=tuple(not_builtin(operators)),
        delegated=sum(count for count, _ in known),
        nodes=sum(nodes for _, nodes in known),
        weight_bytes=_weight_bytes(root),
        file_bytes=len(model),
    )


def _weight_bytes(root: schema.ModelT) -> int:
    """Counts the bytes of the buffers of tensors, each once; other buffers are metadata."""
    numbers = {tensor.buffer for subgraph in root.subgraphs for tensor in subgraph.tensors}
    buffers = [root.buffers[number] for number in numbers]
    # In a file of more than 2 GB they lie behind the flatbuffer and have their size in a field.
    return sum(max(0 if b.data is None else len(b.data), b.size) for b in buffers)


def _signatures(root: schema.ModelT) -> tuple[Signature, ...]:
    def described(ends, subgraph) -> tuple[TensorFacts, ...]:
        named = {end.name.decode(): subgraph.tensors[end.tensorIndex] for end in ends or ()}
        return tuple(_tensor(name, named[name]) for name in sorted(named))

    def unnamed(indices, subgraph) -> tuple[TensorFacts, ...]:
        tensors = [subgraph.tensors[index] for index in indices]
        return tuple(_tensor(t.name.decode(), t) for t in sorted(tensors, key=lambda t: t.name))

    if not root.signatureDefs:
        main = root.subgraphs[0]
        return (Signature("", unnamed(main.inputs, main), unnamed(main.outputs, main)),)
    return tuple(
        Signature(
            signature.signatureKey.decode(),
            *(
                described(ends, root.subgraphs[signature.subgraphIndex])
                for ends in (signature.inputs, signature.outputs)
            ),
        )
        for signature in root.signatureDefs
    )


def _tensor(name: str, tensor: schema.TensorT) -> TensorFacts:
    # A signature of the shape is there where a size may vary.
    shapes = [shape for shape in (tensor.shapeSignature, tensor.shape) if shape is not None]
    shape = next((tuple(map(int, shape)) for shape in shapes if len(shape)), ())
    return TensorFacts(name, shape, _TYPES[tensor.type].lower())


if __name__ == "__main__":
    answer(lambda settings, _: model_facts(pathlib.Path(settings["file"]).read_bytes()).to_dict())
