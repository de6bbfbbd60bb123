"""Evaluation: predictions, timing, and the check that a run can be reproduced."""
