"""The BUILD files list exactly what the sources import, and requirements.txt lists nothing else.

A failure prints the lines to put in the file.
"""

import ast
import dataclasses
import functools
import pathlib
import re
import sys

import pytest

from tests import source_tree

# Import name -> name on the package index, where they differ by more than a hyphen.
DISTRIBUTIONS = {
    "absl": "absl-py",
    "google.protobuf": "protobuf",
    "PIL": "pillow",
    "grpc": "grpcio",
    "sklearn": "scikit-learn",
    "tensorflow_serving": "tensorflow-serving-api",
    "yaml": "pyyaml",
}

# In requirements.txt though no file of ours imports them.
REQUIRED_WITHOUT_AN_IMPORT = {
    "importlib-resources": "tensorflow-datasets imports it without declaring it",
    "h5py": "keras reads and writes weights through it; pinned below 3.15 for tensorflow",
    "setuptools": "tensorflow-model-optimization imports distutils, gone from Python 3.12",
}

# Packages of this file are no deps: few need them, and the lock file is without them.
OPTIONAL_REQUIREMENTS = "requirements-benchmarks.txt"
# Tools that are run, not imported.
DEVELOPMENT_TOOLS = {"mypy", "pytest-xdist", "ruff", "tensorboard"}

PYTHON_RULES = ("py_binary", "py_library", "py_test")


@dataclasses.dataclass(frozen=True)
class Target:
    """A py_library, py_binary or py_test of a BUILD file."""

    folder: pathlib.Path
    name: str
    sources: frozenset[pathlib.Path]
    deps: tuple[str, ...]

    @property
    def label(self) -> str:
        package = "" if self.folder == pathlib.Path(".") else self.folder.as_posix()
        return f"//{package}:{self.name}"

    def label_from(self, folder: pathlib.Path) -> str:
        """The shortest label for use in the BUILD file of another folder."""
        if folder == self.folder:
            return f":{self.name}"
        if self.name == self.folder.name:
            return self.label.removesuffix(f":{self.name}")
        return self.label


def _globbed(folder: pathlib.Path, patterns: list[str]) -> set[pathlib.Path]:
    """Files that Bazel's glob gives: it does not descend into folders that have a BUILD file."""
    return {
        path.relative_to(source_tree.ROOT)
        for pattern in patterns
        for path in (source_tree.ROOT / folder).glob(pattern)
        if path.is_file() and _package_folder(path.relative_to(source_tree.ROOT)) == folder
    }


def _package_folder(path: pathlib.Path) -> pathlib.Path:
    """The closest folder above a file that has a BUILD file."""
    return next(f for f in path.parents if (source_tree.ROOT / f / "BUILD").is_file())


def _sources(folder: pathlib.Path, srcs: ast.expr) -> frozenset[pathlib.Path]:
    if isinstance(srcs, ast.Call):
        assert ast.unparse(srcs.func) == "glob", f"{folder}/BUILD: {ast.unparse(srcs)}"
        options = {k.arg: ast.literal_eval(k.value) for k in srcs.keywords}
        included = _globbed(folder, ast.literal_eval(srcs.args[0]))
        return frozenset(included - _globbed(folder, options.get("exclude", [])))
    return frozenset(folder / name for name in ast.literal_eval(srcs))


@functools.cache
def targets() -> tuple[Target, ...]:
    found = []
    for build_file in sorted(source_tree.ROOT.glob("BUILD")) + [
        path
        for package in source_tree.PACKAGES
        for path in sorted((source_tree.ROOT / package).rglob("BUILD"))
    ]:
        folder = build_file.parent.relative_to(source_tree.ROOT)
        for node in ast.walk(ast.parse(build_file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in PYTHON_RULES:
                options = {keyword.arg: keyword.value for keyword in node.keywords}
                found.append(
                    Target(
                        folder=folder,
                        name=ast.literal_eval(options["name"]),
                        sources=_sources(folder, options["srcs"]),
                        deps=tuple(ast.literal_eval(options.get("deps", ast.List([])))),
                    )
                )
    return tuple(found)


def distribution(module: str) -> str | None:
    """The distribution that provides a module; None for the standard library."""
    for length in (2, 1):
        name = ".".join(module.split(".")[:length])
        if name in DISTRIBUTIONS:
            return DISTRIBUTIONS[name]
    top = module.split(".")[0]
    return None if top in sys.stdlib_module_names else _normalized(top)


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _requirements(file_name: str) -> set[str]:
    lines = (source_tree.ROOT / file_name).read_text(encoding="utf-8").splitlines()
    return {_normalized(line.split("==")[0]) for line in lines if re.match(r"\w", line)}


def needed_deps(target: Target) -> list[str]:
    """The deps of a target that its imports ask for, in buildifier's order."""
    owners = {source: owner for owner in targets() for source in owner.sources}
    internal, external = set(), set()
    optional = _requirements(OPTIONAL_REQUIREMENTS)
    for source in target.sources:
        for module in source_tree.imported_modules(source):
            if file := source_tree.module_file(module):
                owner = owners.get(file)
                assert owner, f"{file} is in no target of {_package_folder(file) / 'BUILD'}"
                if owner != target:
                    internal.add(owner.label_from(target.folder))
            elif module.split(".")[0] in source_tree.PACKAGES:
                raise AssertionError(f"{source} imports {module}, which does not exist")
            elif (name := distribution(module)) and name not in optional:
                external.add("@pypi//" + name.replace("-", "_"))
    by_package = sorted(internal, key=lambda label: (not label.startswith(":"), label.split(":")))
    return by_package + sorted(external)


def test_every_package_folder_has_a_build_file():
    missing = {
        path.parent.as_posix()
        for path in source_tree.python_files(*(set(source_tree.PACKAGES) - {"tests"}))
        if not (source_tree.ROOT / path.parent / "BUILD").is_file()
    }
    assert not missing, f"no BUILD file in {sorted(missing)}"


def test_every_source_is_in_exactly_one_target():
    owned = [source for target in targets() for source in target.sources]
    assert len(owned) == len(set(owned))
    assert set(owned) == set(source_tree.python_files(*source_tree.PACKAGES))


@pytest.mark.parametrize("target", targets(), ids=lambda target: target.label)
def test_deps_are_exactly_what_the_sources_import(target):
    needed = needed_deps(target)
    lines = "".join(f'        "{label}",\n' for label in needed)
    assert list(target.deps) == needed, (
        f"{target.folder}/BUILD, target {target.name}, should have\n    deps = [\n{lines}    ],"
    )


def test_targets_do_not_depend_on_each_other_in_a_circle():
    needs = {}
    for target in targets():
        deps = needed_deps(target)
        needs[target.label] = {
            other.label for other in targets() if other.label_from(target.folder) in deps
        }
    while free := [label for label, others in needs.items() if not others & needs.keys()]:
        for label in free:
            del needs[label]
    circle = {label: sorted(others & needs.keys()) for label, others in needs.items()}
    assert not circle, f"targets in or behind a circle: {circle}; split them by file"


def test_every_external_dep_is_a_direct_requirement():
    known = _requirements("requirements.txt") | _requirements("requirements-dev.txt")
    used = {
        _normalized(dep.removeprefix("@pypi//"))
        for target in targets()
        for dep in target.deps
        if dep.startswith("@pypi//")
    }
    assert used <= known, f"add to requirements.txt or requirements-dev.txt: {sorted(used - known)}"


def test_requirements_list_nothing_that_no_file_imports():
    imported = {
        distribution(module)
        for path in source_tree.python_files(*source_tree.PACKAGES)
        for module in source_tree.imported_modules(path)
    }
    files = ("requirements.txt", "requirements-dev.txt", OPTIONAL_REQUIREMENTS)
    unused = (
        set().union(*map(_requirements, files))
        - imported
        - REQUIRED_WITHOUT_AN_IMPORT.keys()
        - DEVELOPMENT_TOOLS
    )
    assert not unused, f"no file imports {sorted(unused)}"


def test_every_requirement_is_pinned_to_the_version_of_the_lock_file():
    lines = {
        name: (source_tree.ROOT / name).read_text(encoding="utf-8").splitlines()
        for name in ("requirements.txt", "requirements-dev.txt", "constraints.txt")
    }
    pins = {
        name: {line.split()[0] for line in content if re.match(r"\w", line)}
        for name, content in lines.items()
    }
    assert pins["requirements.txt"] <= pins["constraints.txt"]
    assert pins["requirements-dev.txt"] <= pins["constraints.txt"]
