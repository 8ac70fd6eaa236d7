"""Runs the tests where a test must be a program, as in Bazel: `python -m tests`."""

import pathlib
import sys

import pytest

if __name__ == "__main__":
    sys.exit(pytest.main([str(pathlib.Path(__file__).parent), *sys.argv[1:]]))
