"""Reads a .tflite file as objects, and the operators that it consists of."""

from __future__ import annotations

import collections

from ai_edge_litert import schema_py_generated as schema

_NAMES = {
    code: name for name, code in vars(schema.BuiltinOperator).items() if not name.startswith("_")
}


def read_model(model: bytes) -> schema.ModelT:
    """Reads a file as objects with the fields of the TFLite schema; subgraphs have lists."""
    root = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model, 0))
    for subgraph in root.subgraphs:
        for name in ("inputs", "outputs", "tensors", "operators"):
            values = getattr(subgraph, name)
            setattr(subgraph, name, [] if values is None else list(values))
    return root


def operator_names(model: schema.ModelT, subgraph: schema.SubGraphT) -> list[str]:
    """Names the operators of a subgraph, in their order.

    Builtin operators have their name in the TFLite schema, such as "IF" or "CONV_2D"; others are
    "custom:" and their own.
    """
    names = []
    for operator in subgraph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        # Files of old converters have the code in the first field only.
        builtin = max(code.builtinCode, code.deprecatedBuiltinCode)
        names.append(f"custom:{code.customCode.decode()}" if code.customCode else _NAMES[builtin])
    return names


def count_operators(model: bytes) -> collections.Counter[str]:
    """Counts how often each operator occurs, over all subgraphs, by its name."""
    root = read_model(model)
    return collections.Counter(
        name for subgraph in root.subgraphs for name in operator_names(root, subgraph)
    )


def not_builtin(counts: collections.Counter[str]) -> list[str]:
    """Names the operators that a plain LiteRT runtime does not have."""
    return sorted(name for name in counts if name.startswith("custom:"))
