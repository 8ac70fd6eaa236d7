"""How an image of any shape is brought to the square that a model takes. Needs no TensorFlow."""

from __future__ import annotations

import enum


class Fit(enum.StrEnum):
    """Names what is kept of an image: `drnet_tf.data.decoding.fitted` carries it out.

    WHOLE: the short side becomes the model's size, which leaves a square image whole.
    CENTRE_CROP: the short side becomes size / 0.875, the customary 256 for 224.

    Then the centre is cropped. A run writes down which of them its data set asks for, and an export
    copies it: training, evaluation, servers and phones then resize alike.
    """

    WHOLE = "whole"
    CENTRE_CROP = "centre crop"
