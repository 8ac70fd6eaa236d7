"""Which operators of a .tflite file XNNPACK takes over, also inside of IFs.

LiteRT tells of the nodes of the first subgraph only. Every other one is therefore loaded as a model
of its own: the delegate looks at one subgraph at a time, so it takes the same nodes there.
"""

from __future__ import annotations

from collections.abc import Sequence

from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.tools import flatbuffer_utils

_DELEGATE = "DELEGATE"
_CONTROL_FLOW = ("IF", "WHILE", "CALL_ONCE")


def delegated_nodes(model: bytes) -> list[int | None]:
    """Counts the nodes of each subgraph that XNNPACK takes over on this machine.

    None for a subgraph, other than the first, that calls others: it cannot be loaded alone.
    """
    parsed = flatbuffer_utils.read_model_from_bytearray(bytearray(model))
    counts: list[int | None] = [_count(model, len(parsed.subgraphs[0].operators))]
    for subgraph in parsed.subgraphs[1:]:
        names = {
            flatbuffer_utils.opcode_to_name(parsed, operator.opcodeIndex)
            for operator in subgraph.operators or ()
        }
        if not names:
            counts.append(0)
        elif names & set(_CONTROL_FLOW):
            counts.append(None)
        else:
            counts.append(_count(_alone(parsed, subgraph), len(subgraph.operators)))
    return counts


def _alone(parsed, subgraph) -> bytes:
    """Makes a model of one subgraph, with the buffers that it reads."""
    model = schema.ModelT()
    model.version = parsed.version
    model.operatorCodes = parsed.operatorCodes
    model.buffers = [schema.BufferT()]  # the first is empty in every file
    tensors = []
    for tensor in subgraph.tensors:
        model.buffers.append(parsed.buffers[tensor.buffer])
        tensors.append(_changed(tensor, buffer=len(model.buffers) - 1))
    model.subgraphs = [_changed(subgraph, tensors=tensors)]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _changed(value, **changes):
    """Copies a table, shallowly, with other values in some fields."""
    copy = type(value)()
    copy.__dict__.update(vars(value) | changes)
    return copy


def _count(model: bytes, nodes: int) -> int:
    interpreter = Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    details = interpreter._get_ops_details()
    # What a delegate took over stays in the list, and the delegate's own nodes follow.
    producers = {
        output: i
        for i, node in enumerate(details[:nodes])
        for output in node["outputs"]
        if output >= 0
    }
    taken: set[int] = set()
    for node in details[nodes:]:
        if node["op_name"] == _DELEGATE:
            _collect(node, details, producers, taken)
    return len(taken)


def _collect(
    delegate: dict, details: Sequence[dict], producers: dict[int, int], taken: set[int]
) -> None:
    """Adds the nodes between the inputs and the outputs of a delegate's node."""
    waiting = list(delegate["outputs"])
    while waiting:
        tensor = waiting.pop()
        node = producers.get(tensor)
        if tensor in delegate["inputs"] or node is None or node in taken:
            continue
        taken.add(node)
        waiting += list(details[node]["inputs"])
