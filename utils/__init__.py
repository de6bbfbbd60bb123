"""The ground floor: run folders, metrics, tables and the console. Imports none of the other rooms and never Keras."""
