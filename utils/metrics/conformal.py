"""Sets of classes that hold the true one with a promised probability: split conformal prediction, by MAPIE."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

LEVELS = (0.90, 0.95)
FEWEST = 20  # validation images: with fewer no threshold can promise 95 %, as (n + 1) * 0.95 is more than n


@dataclass(frozen=True)
class Sets:
    """Prediction sets at one level.

    Attributes:
        level: promised coverage.
        members: (images, classes) bool, whether a class is in the set of an image; a set may be empty.
        threshold: 1 - p above which a class is left out.
    """

    level: float
    members: "np.ndarray"
    threshold: float

    def measured(self, labels: "np.ndarray", classes: list[str]) -> dict[str, Any]:
        """Return what the sets hold, as values for JSON: threshold, coverage, mean_size, empty, single, per_class.

        All but threshold and mean_size are shares of the images in 0..1; per_class is the coverage of each class, None
        for one without images.
        """
        held, sizes = self.members[range(len(labels)), labels], self.members.sum(axis=1)
        found = [held[labels == k] for k in range(len(classes))]
        return {
            "threshold": self.threshold,
            "coverage": float(held.mean()),
            "mean_size": float(sizes.mean()),
            "empty": float((sizes == 0).mean()),
            "single": float((sizes == 1).mean()),
            "per_class": {c: float(f.mean()) if len(f) else None for c, f in zip(classes, found, strict=True)},
        }


def sets(validation: "np.ndarray", truth: "np.ndarray", probabilities: "np.ndarray") -> list[Sets]:
    """Return the prediction sets of images at every one of LEVELS; none with fewer than FEWEST validation images.

    A class is in the set where 1 - p is at most the threshold that covers the promised share of validation images (LAC:
    Sadinle, Lei & Wasserman 2019). The promise holds on average over images exchangeable with those of validation.

    Args:
        validation: (n, classes) probabilities by which the thresholds are chosen.
        truth: (n,) indices of their true classes.
        probabilities: (images, classes) of the images that want sets.
    """
    import warnings

    import numpy as np
    from mapie.classification import SplitConformalClassifier
    from mapie.conformity_scores import LACConformityScore

    if len(truth) < FEWEST:
        return []
    validation, probabilities = (p / p.sum(axis=1, keepdims=True) for p in (validation, probabilities))
    score = LACConformityScore()
    maker = SplitConformalClassifier(_given(validation.shape[1]), list(LEVELS), score, prefit=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*conformalization dataset has less labels")  # coverage is over all
        _, members = maker.conformalize(validation, truth).predict_set(probabilities)
    levels = zip(LEVELS, np.moveaxis(members, 2, 0), score.quantiles_, strict=True)
    return [Sets(level, inside, float(limit)) for level, inside, limit in levels]


def _given(classes: int) -> Any:
    """Return what MAPIE takes for a fitted classifier: its images are their own probabilities."""
    import numpy as np
    from sklearn.base import BaseEstimator, ClassifierMixin

    class Given(ClassifierMixin, BaseEstimator):
        classes_ = np.arange(classes)

        def __sklearn_is_fitted__(self) -> bool:
            return True

        def fit(self, images: Any, labels: Any) -> Any:  # MAPIE asks for the method, and calls it nowhere
            return self

        def predict(self, images: np.ndarray) -> np.ndarray:
            return images.argmax(axis=1)

        def predict_proba(self, images: np.ndarray) -> np.ndarray:
            return images

    return Given()
