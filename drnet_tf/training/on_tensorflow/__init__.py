"""Training on TensorFlow: the step and the devices."""
