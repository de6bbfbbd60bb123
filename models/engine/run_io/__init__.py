"""Reading and writing of runs that need Keras: weights, architecture, opened models."""
