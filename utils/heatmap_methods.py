"""Registry of the heatmap methods, for computing, command line and figures."""

from dataclasses import dataclass

CONVOLUTIONS, TOKENS = "convolutional", "token"  # kinds of models: feature maps, or tokens of a transformer


@dataclass(frozen=True)
class Method:
    """A heatmap method.

    Attributes:
        name: in the command line and heatmaps.npz.
        title: in figures.
        kinds: kinds of models that it can explain.
        source: publication.
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
    """Return the names of the methods for a kind of model; of all methods by default."""
    return [method.name for method in METHODS.values() if not kind or kind in method.kinds]


def title(name: str) -> str:
    """Return the title of a method; an unknown name is returned unchanged."""
    return METHODS[name].title if name in METHODS else name
