"""The numerical library under Keras: TensorFlow or JAX, precision, devices, repeatability."""
