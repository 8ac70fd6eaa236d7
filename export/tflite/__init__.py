""".tflite files: made, run, read, timed."""
