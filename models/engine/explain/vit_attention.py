"""Heatmaps of a Vision Transformer: attention rollout, and Grad-CAM over image tokens.

The backbone of keras-hub stays nested in the model, because an unrolled one cannot be loaded from a file. Here its
blocks are called one by one, with the layers of the model itself.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


class Tokens:
    """A model with a nested Vision Transformer, unrolled into its blocks.

    Attributes:
        blocks: names of the transformer blocks, first to last.
        grid: rows and columns of the image tokens.
    """

    def __init__(self, model: "keras.Model") -> None:
        import keras

        backbone = backbone_of(model)
        position = model.operations.index(backbone)
        self._before = keras.Model(model.input, model.operations[position - 1].output)
        _, self._embed, self._encoder = backbone.layers
        self._after = keras.Model(model.operations[position + 1].input, model.output)
        self._layers = self._encoder.encoder_layers
        self.blocks = [layer.name for layer in self._layers]
        sides = zip(backbone.image_shape, backbone.patch_size, strict=False)
        self.grid: tuple[int, int] = tuple(side // patch for side, patch in sides)

    def start(self, pixels: np.ndarray) -> "tf.Tensor":
        """Return the input tokens (n, 1 + rows * columns, width) of the first block, the class token first."""
        return self._encoder.dropout(self._embed(self._before(np.asarray(pixels, np.float32))))

    def block(self, tokens: "tf.Tensor", number: int) -> "tuple[tf.Tensor, tf.Tensor]":
        """Run one block; return its tokens and its attention (n, heads, to, from), which sums to 1 over "from"."""
        layer = self._layers[number]
        x = layer.layer_norm_1(tokens)
        x, attention = layer.mha(x, x, return_attention_scores=True)
        x = layer.dropout(x) + tokens
        return x + layer.mlp(layer.layer_norm_2(x)), attention

    def finish(self, tokens: "tf.Tensor") -> "tf.Tensor":
        """Return the model's output (n, classes) for the tokens after the last block."""
        return self._after(self._encoder.layer_norm(tokens))


def backbone_of(model: "keras.Model") -> Any:
    """Return the nested Vision Transformer of a model, or None where it has none."""
    found = (layer for layer in model.layers if hasattr(layer, "patch_size") and hasattr(layer, "num_heads"))
    return next(found, None)


def block_names(model: "keras.Model") -> list[str]:
    """Return the transformer blocks whose image tokens Grad-CAM can use.

    Of the tokens of the last block, only the class token reaches the output, so the last block is left out.
    """
    return [layer.name for layer in backbone_of(model).layers[-1].encoder_layers[:-1]]


def rollout(model: "keras.Model", pixels: np.ndarray) -> np.ndarray:
    """Compute the share of each image token in the class token after all blocks; it does not depend on a class.

    Source: attention rollout, Abnar and Zuidema 2020.

    Args:
        model: contains a nested Vision Transformer.
        pixels: (n, size, size, 3) in 0-255.

    Returns:
        (n, rows, columns) of the token grid, not negative.
    """
    tokens = Tokens(model)
    x, attentions = tokens.start(pixels), []
    for number in range(len(tokens.blocks)):
        x, attention = tokens.block(x, number)
        attentions.append(np.mean(attention, axis=1))
    return rolled_out(attentions)[:, 0, 1:].reshape(-1, *tokens.grid)


def rolled_out(attentions: Sequence[np.ndarray]) -> np.ndarray:
    """Multiply the attention of all blocks, each averaged with the identity for its residual connection.

    Args:
        attentions: (n, to, from) of each block, first to last, averaged over heads.

    Returns:
        (n, to, from): the share of each input token in each output token.
    """
    total = np.eye(attentions[0].shape[-1])[None]
    for attention in attentions:
        total = (0.5 * attention + 0.5 * np.eye(attention.shape[-1])) @ total
    return total


def gradcam(model: "keras.Model", pixels: np.ndarray, targets: Sequence[int], block: str) -> np.ndarray:
    """Compute the Grad-CAM of a class over the image tokens after a block.

    Source: Grad-CAM, Selvaraju et al. 2017, with tokens instead of a grid of activations.

    Args:
        model: contains a nested Vision Transformer and outputs logits.
        pixels: (n, size, size, 3) in 0-255.
        targets: (n,) index of the class to explain.
        block: one of `block_names`.

    Returns:
        (n, rows, columns) of the token grid, not negative.
    """
    import tensorflow as tf

    tokens = Tokens(model)
    x, last = tokens.start(pixels), tokens.blocks.index(block)
    for number in range(last + 1):
        x, _ = tokens.block(x, number)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = x
        for number in range(last + 1, len(tokens.blocks)):
            y, _ = tokens.block(y, number)
        score = tf.reduce_sum(tf.gather(tokens.finish(y), list(targets), batch_dims=1))
    gradients = tape.gradient(score, x)[:, 1:].numpy()  # without the class token
    weights = gradients.mean(axis=1, keepdims=True)
    return (x[:, 1:].numpy() * weights).sum(axis=-1).clip(min=0).reshape(-1, *tokens.grid)
