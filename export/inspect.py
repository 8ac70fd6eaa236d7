"""Prints what a .tflite file holds, and what the model.json beside it says of it.

    python -m export.inspect exported/model.tflite [--json=FILE]

Operators are counted over all subgraphs: those inside of IFs too. "XNNPACK" is the share of them
that LiteRT's delegate for CPUs takes over on this machine; the others run in its plain kernels.

As a part of `export` this file cannot be taken for the standard library's `inspect`, as long as the
folder export/ itself is not on the path.
"""

from __future__ import annotations

import json
import math
import pathlib
from typing import Any

import numpy as np
import rich.console
import rich.table
from absl import flags

from drnet_tf import command_line
from drnet_tf.writing import check_writable, write_text
from export.folder import names
from export.folder.description import sha256
from export.folder.export import read_description
from export.tflite.child_process import run_child

STDOUT = "-"


def inspect_file(path: pathlib.Path | str) -> dict[str, Any]:
    """Collects all that is known of a file, for JSON.

    Returns:
        The fields of `ModelFacts`; `file`; and `description`, None without a model.json beside
        the file that lists it: its name in it, where it comes from, the units that it chooses
        from, and whether the file is unchanged since.
    """
    path = pathlib.Path(path)
    with path.open("rb"):
        pass  # an OSError says what is wrong with the path
    facts = run_child("export.tflite.facts", {"file": str(path)})
    return {"file": str(path), **facts, "description": _description(path)}


def _description(path: pathlib.Path) -> dict[str, Any] | None:
    if not (path.parent / names.DESCRIPTION_FILE).is_file():
        return None
    values = read_description(path.parent)
    listed = values["files"].get(path.name)
    if listed is None:
        return None
    copied = (
        *("family", "model", "dataset", "step", "checkpoint", "units", "macs", "input"),
        # Those that only some families have, among them the names by which clients know a DRNet.
        *("cells", "connections", "branch_names", "gated_branches"),
    )
    static = values.get("static") if path.name == names.STATIC_FILE else None
    return {name: values[name] for name in copied if name in values} | {
        "static": static,
        "classes": len(values["class_names"]),
        "branches": math.prod(values["units"]["shape"]) if values["units"]["shape"] else 0,
        "gates": int(np.sum(values["gates"])) if values["gates"] else 0,
        "unchanged": listed["sha256"] == sha256(path),
    }


def table(values: dict[str, Any]) -> rich.table.Table:
    """Makes a table of what `inspect_file` gave, one fact per line."""
    grid = rich.table.Table(title=values["file"], title_justify="left", show_header=False, box=None)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for signature in values["signatures"]:
        grid.add_row("signature", signature["name"] or "none")
        for end in ("inputs", "outputs"):
            for tensor in signature[end]:
                grid.add_row(f"  {end[:-1]}", "{name} {type} {shape}".format(**tensor))
    operators = values["operators"]
    grid.add_row("IFs", str(values["ifs"]))
    grid.add_row("subgraphs", str(values["subgraphs"]))
    grid.add_row("operators", f"{sum(operators.values())} of {len(operators)} kinds")
    grid.add_row("", ", ".join(f"{count} {name}" for name, count in operators.items()))
    if values["not_builtin"]:
        grid.add_row("not built in", ", ".join(values["not_builtin"]))
    grid.add_row(
        "XNNPACK",
        f"{100 * values['delegated_share']:.0f}%: {values['delegated']} of {values['nodes']} nodes",
    )
    grid.add_row("weights", f"{values['weight_bytes']:,} bytes")
    grid.add_row("file", f"{values['file_bytes']:,} bytes")
    if description := values["description"]:
        for name, text in _description_lines(description):
            grid.add_row(name, text)
    return grid


def _description_lines(values: dict[str, Any]) -> list[tuple[str, str]]:
    lowest, highest = values["input"]["range"]
    macs = values["macs"]
    lines = [
        ("model", f"{values['model']}, step {values['step']} ({values['checkpoint']})"),
        ("data set", f"{values['dataset']}, {values['classes']} classes"),
        ("image", f"{values['input']['color']}, {lowest} to {highest}"),
    ]
    all_macs = f"{macs['total'] / 1e6:.2f}M with all units"
    if shape := values["units"]["shape"]:
        named = zip(shape, values["units"]["names"], strict=False)
        text = " x ".join(f"{length} {name}" for length, name in named)
        branches = ", ".join(values.get("branch_names", ()))
        lines.append(
            ("units", f"{values['branches']} = {text}" + (f": {branches}" if branches else ""))
        )
    if static := values["static"]:
        lines.append(("kept", f"{int(np.sum(static['kept']))}, the same for all images"))
        lines.append(("MACs", f"{static['macs'] / 1e6:.2f}M"))
    elif shape:
        kinds = ", ".join(values.get("gated_branches", ()))
        lines.append(("in an IF", f"{values['gates']}" + (f": {kinds}" if kinds else "")))
        lines.append(("MACs", f"{macs['fixed'] / 1e6:.2f}M fixed, {all_macs}"))
    else:
        lines.append(("MACs", f"{macs['total'] / 1e6:.2f}M"))
    checksum = "that of model.json" if values["unchanged"] else "NOT that of model.json"
    return [*lines, ("checksum", checksum)]


def define_flags() -> None:
    flags.DEFINE_string("json", None, f"Write all to this file too; {STDOUT} prints only that.")


def main(path: str) -> None:
    to = flags.FLAGS.json
    if to and to != STDOUT:
        check_writable(to)
    values = inspect_file(path)
    if to != STDOUT:
        rich.console.Console().print(table(values), highlight=False)
    if to:
        text = json.dumps(values, indent=1) + "\n"
        if to == STDOUT:
            print(text, end="")
        else:
            write_text(to, text)


if __name__ == "__main__":
    define_flags()
    command_line.run(main, operands=("FILE.tflite",))
