"""What the Python files of this repository import, by their syntax trees: nothing is run."""

import ast
import functools
import pathlib
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGES = ("drnet_tf", "export", "benchmarks", "tests")


def python_files(*folders: str) -> list[pathlib.Path]:
    """The Python files under those of the top-level folders that exist, relative to the root."""
    return sorted(
        path.relative_to(ROOT)
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        if "__pycache__" not in path.parts
    )


def parse(path: pathlib.Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"), filename=str(path))


def module_name(path: pathlib.Path) -> str:
    """`drnet_tf/layers/cell.py` is `drnet_tf.layers.cell`; an `__init__.py` is its package."""
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def imported_modules(path: pathlib.Path) -> frozenset[str]:
    """Absolute dotted names of all that a file imports, also inside functions.

    `from a.b import c` gives `a.b.c`, whether c is a module or a name in one: `module_file` tells.
    `importlib.import_module("a.b")` and `pytest.importorskip("a.b")` count where the name is
    a literal.
    """
    return frozenset(_imports(path))


def _imports(path: pathlib.Path) -> Iterator[str]:
    for node in _walk_what_runs(parse(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:  # Relative: level 1 is the folder of the file.
                folder = path.parts[: len(path.parts) - node.level]
                base = ".".join([*folder, *filter(None, [base])])
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in ("import_module", "importorskip")
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            yield str(node.args[0].value)


def _walk_what_runs(tree: ast.Module) -> Iterator[ast.AST]:
    """All nodes but those below `if TYPE_CHECKING:`, whose imports no process does."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        yield node
        waiting.extend(ast.iter_child_nodes(node))


def module_file(dotted_name: str) -> pathlib.Path | None:
    """The file of this repository that holds a module or a name of one; None if it is not ours."""
    parts = dotted_name.split(".")
    if parts[0] not in PACKAGES:
        return None
    for length in range(len(parts), 0, -1):
        stem = pathlib.Path(*parts[:length])
        for candidate in (stem.with_suffix(".py"), stem / "__init__.py"):
            if (ROOT / candidate).is_file():
                return candidate
    return None


def is_command_line(path: pathlib.Path) -> bool:
    """Whether a file has an `if __name__ == "__main__":` block."""
    return any(
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Compare)
        and ast.unparse(node.test).replace('"', "'") == "__name__ == '__main__'"
        for node in parse(path).body
    )
