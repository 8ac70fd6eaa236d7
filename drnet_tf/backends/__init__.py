"""What differs between Keras backends: compiled functions of a model, determinism."""
