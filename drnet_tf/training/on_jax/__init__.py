"""Training on JAX: the step and the devices."""
