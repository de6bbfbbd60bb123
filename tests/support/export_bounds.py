"""Export limits for barely trained networks."""


def loose_bounds():
    """Return limits that every export meets: predictions of barely trained networks change easily."""
    from models.engine.export.validation import BOUNDS, Bound

    return {precision: Bound(None, 0.0, 1.0) for precision in BOUNDS}
