"""One export, made once for all tests of this folder."""

import dataclasses
import pathlib

import numpy as np
import pytest

from drnet_tf.data.fit import Fit
from drnet_tf.runs.checkpoints import Checkpoint
from drnet_tf.runs.workdir import Run, Trained, load_trained
from export.convert.conversion import convert
from export.folder.export import Export
from tests.export.routed_model import CLASS_NAMES, CONFIG, images_of, model_with_varied_routing


@dataclasses.dataclass(frozen=True, eq=False)
class Exported:
    """A workdir, the model in it, and its export."""

    workdir: pathlib.Path
    trained: Trained
    export: Export

    @property
    def folder(self) -> pathlib.Path:
        return self.export.folder


@pytest.fixture(scope="session")
def exported(tmp_path_factory) -> Exported:
    workdir = tmp_path_factory.mktemp("workdir with a space")
    Run("drnet_xs.digits", CONFIG, "digits", fit=Fit.WHOLE).save(str(workdir))
    Checkpoint.of(7, model_with_varied_routing(CONFIG)).write(str(workdir))
    trained = load_trained(str(workdir))
    return Exported(workdir, trained, convert(trained, CLASS_NAMES, workdir.parent / "exported"))


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    return images_of(CONFIG, 12)
