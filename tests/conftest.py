"""What holds for all tests."""

# First: JAX, which some tests import, would set the level of TensorFlow's messages to that of
# notes, and commands that tests start would take it for the user's wish.
import drnet_tf  # noqa: F401
