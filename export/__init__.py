"""Export of trained models: .tflite, SavedModel, and the checks and timings of both."""
