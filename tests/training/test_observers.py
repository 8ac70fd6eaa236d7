"""What is watched in training, against the numbers of given logits and selections."""

import numpy as np
import pytest

from drnet_tf.models.drnet.architecture import DRNetConfig
from drnet_tf.models.drnet.cost import cost_table
from drnet_tf.runs.telemetry import macs_column
from drnet_tf.training.observers import SelectionRatios, Validation

CONFIG = DRNetConfig(image_size=9, classes=3, cells=2, channels=3, nodes=1)
COST = cost_table(CONFIG)
THRESHOLD = 0.8


class Model:
    cost = COST


def batches():
    """Seven images in batches of four; each image holds its own number, its label is that mod 3."""
    for numbers in (np.arange(4), np.arange(4, 7)):
        images = np.broadcast_to(numbers[:, None, None, None], (len(numbers), 9, 9, 3))
        yield images.astype("float32"), numbers % 3


def forward(images, threshold):
    """Right but for image 5. Image i selects the first branches, i + 1 at the threshold."""
    numbers = images[:, 0, 0, 0].astype(int)
    logits = np.eye(3)[(numbers + (numbers == 5)) % 3]
    count = np.full(len(numbers), 5) if threshold is None else np.minimum(numbers + 1, 5)
    selected = np.arange(5) < count[:, None]
    shape = (len(numbers), *COST.unit_macs.shape)
    return logits, np.broadcast_to(selected[:, None, None], shape)


def test_validation_accuracy_is_of_all_images_and_not_of_what_fills_a_batch():
    assert Validation(Model, forward, batches)().scalars == {"validation_accuracy": 6 / 7}


def test_selection_ratios_are_shares_of_the_images_by_connection_and_branch():
    observation = SelectionRatios(Model, forward, batches, THRESHOLD)()
    (image,) = observation.images.values()
    assert image.shape == (np.prod(COST.unit_macs.shape[:2]), 5)
    np.testing.assert_allclose(image, np.broadcast_to(np.array([7, 6, 5, 4, 3]) / 7, image.shape))
    macs = COST.fixed.macs + np.sum(COST.unit_macs * np.array([7, 6, 5, 4, 3]) / 7)
    assert observation.scalars == {macs_column(THRESHOLD): pytest.approx(macs)}
