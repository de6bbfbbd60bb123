"""Helpers of all other rooms; none of them imports Keras.

Imports run one way: errors, paths, text < system, io < metrics < runs < tables < console. `heatmap_methods`
is a registry shared by three rooms and imports nothing.
"""
