"""Split conformal prediction by MAPIE: sets of classes that hold the true one with a given probability."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

LEVELS = (0.90, 0.95)
FEWEST = 20  # validation images; with fewer, (n + 1) * 0.95 is more than n and no threshold reaches 95 %


@dataclass(frozen=True)
class Sets:
    """Prediction sets at one level.

    Attributes:
        level: wanted coverage.
        members: (images, classes) bool, whether a class is in the set of an image; a set may be empty.
        threshold: highest 1 - p of a member.
    """

    level: float
    members: "np.ndarray"
    threshold: float

    def measured(self, labels: "np.ndarray", classes: list[str]) -> dict[str, Any]:
        """Return the measured properties as values for JSON: threshold, coverage, mean_size, empty, single, per_class.

        coverage, empty and single are shares of the images in 0..1; per_class is the coverage of each class, None for
        a class without images.
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
    """Return prediction sets at each of LEVELS; [] with fewer than FEWEST validation images.

    A class is in the set if 1 - p is at most the threshold that covers the wanted share of validation images (LAC:
    Sadinle, Lei & Wasserman 2019). The coverage is guaranteed on average, for images exchangeable with the validation
    images.

    Args:
        validation: (n, classes) probabilities that the thresholds are fitted on.
        truth: (n,) indices of their true classes.
        probabilities: (images, classes) of the images to make sets for.
    """
    import warnings

    import numpy as np
    from mapie.classification import SplitConformalClassifier
    from mapie.conformity_scores import LACConformityScore

    if len(truth) < FEWEST:
        return []
    validation, probabilities = (p / p.sum(axis=1, keepdims=True) for p in (validation, probabilities))
    score = LACConformityScore()
    classifier = SplitConformalClassifier(_given(validation.shape[1]), list(LEVELS), score, prefit=True)
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message=".*conformalization dataset has less labels"
        )  # coverage is over all classes
        _, members = classifier.conformalize(validation, truth).predict_set(probabilities)
    levels = zip(LEVELS, np.moveaxis(members, 2, 0), score.quantiles_, strict=True)
    return [Sets(level, inside, float(limit)) for level, inside, limit in levels]


def _given(classes: int) -> Any:
    """Return a fitted classifier for MAPIE whose inputs are the probabilities themselves."""
    import numpy as np
    from sklearn.base import BaseEstimator, ClassifierMixin

    class Given(ClassifierMixin, BaseEstimator):
        classes_ = np.arange(classes)

        def __sklearn_is_fitted__(self) -> bool:
            return True

        def fit(self, images: Any, labels: Any) -> Any:  # required by MAPIE, never called
            return self

        def predict(self, images: np.ndarray) -> np.ndarray:
            return images.argmax(axis=1)

        def predict_proba(self, images: np.ndarray) -> np.ndarray:
            return images

    return Given()
