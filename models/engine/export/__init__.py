"""Export to other runtimes (ONNX, LiteRT, OpenVINO, SavedModel), with validation."""
