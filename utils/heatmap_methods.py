"""The ways to compute a heatmap, each named once: what computes them, asks for them and draws them reads this list."""

from dataclasses import dataclass

CONVOLUTIONS, TOKENS = "convolutional", "token"  # kinds of models: rows and columns of activations, or image tokens


@dataclass(frozen=True)
class Method:
    """A way to compute where a model looked.

    Attributes:
        name: as the command line and heatmaps.npz have it.
        title: as figures have it.
        kinds: the kinds of models that it can explain.
        source: where it was published.
    """

    name: str
    title: str
    kinds: tuple[str, ...]
    source: str


METHODS = {
    method.name: method
    for method in (
        Method("gradcam", "Grad-CAM", (CONVOLUTIONS, TOKENS), "Selvaraju et al. 2017"),
        Method("gradcam++", "Grad-CAM++", (CONVOLUTIONS,), "Chattopadhay et al. 2018"),
        Method("scorecam", "Score-CAM", (CONVOLUTIONS,), "Wang et al. 2020"),
        Method("rollout", "Attention rollout", (TOKENS,), "Abnar and Zuidema 2020"),
    )
}


def names(kind: str = "") -> list[str]:
    """Return the names of the methods for a kind of model; of all without one."""
    return [method.name for method in METHODS.values() if not kind or kind in method.kinds]


def title(name: str) -> str:
    """Return the title of a method; a name that is not known stands for itself."""
    return METHODS[name].title if name in METHODS else name
