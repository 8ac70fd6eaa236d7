"""What operators a .tflite file consists of."""

from __future__ import annotations

import collections

from ai_edge_litert import schema_py_generated as schema

_NAMES = {
    code: name for name, code in vars(schema.BuiltinOperator).items() if not name.startswith("_")
}


def count_operators(model: bytes) -> collections.Counter[str]:
    """Counts how often each operator occurs, over all subgraphs.

    Builtin operators have their name in the TFLite schema, such as "IF" or "CONV_2D"; others are
    "custom:" and their own.
    """
    root = schema.Model.GetRootAsModel(model, 0)
    names = []
    for i in range(root.OperatorCodesLength()):
        code = root.OperatorCodes(i)
        # Files of old converters have the code in the first field only.
        builtin = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        custom = code.CustomCode()
        names.append(f"custom:{custom.decode()}" if custom else _NAMES[builtin])
    counts: collections.Counter[str] = collections.Counter()
    for i in range(root.SubgraphsLength()):
        subgraph = root.Subgraphs(i)
        counts.update(
            names[subgraph.Operators(j).OpcodeIndex()] for j in range(subgraph.OperatorsLength())
        )
    return counts


def not_builtin(counts: collections.Counter[str]) -> list[str]:
    """Names the operators that a plain LiteRT runtime does not have."""
    return sorted(name for name in counts if name.startswith("custom:"))
