"""Plots of numbers: each Display stores numbers and draws them on demand."""
