"""Heatmaps of a Vision Transformer: its blocks are unrolled exactly, and planted corners are found."""

import keras
import numpy as np
import pytest
from checks import one_line_error

import models
from models.engine.backend import keras_backend
from models.engine.explain import cam, vit_attention
from models.vit_b16 import model as vit
from utils.errors import LeukoBenchError

pytestmark = pytest.mark.extra  # keras-hub
CLASSES = ("blue", "green", "red", "yellow")
COLOURS = np.array([(40, 60, 200), (40, 180, 60), (200, 50, 50), (210, 200, 40)])
SIDE, PATCH = 48, 16  # pixels of the images and of the planted square


def tiny(**values):
    return models.config_for("vit_b16", "tiny", classes=CLASSES, image_size=SIDE, **values)


@pytest.fixture(scope="module")
def model():
    keras_backend.start(5)
    return models.build(tiny(), logits=True)


@pytest.fixture(scope="module")
def planted():
    """A light background, and in one corner of each image a square whose colour is the class."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(220, 241, (16, SIDE, SIDE, 3)).astype(np.float32)
    labels, corners = np.arange(16) % 4, rng.integers(0, 2, (16, 2)) * (SIDE - PATCH)
    for image, label, (row, column) in zip(pixels, labels, corners, strict=True):
        image[row : row + PATCH, column : column + PATCH] = COLOURS[label]
    return pixels, labels, corners


@pytest.fixture
def reader(monkeypatch):
    """Two blocks with weights set by hand: the class token averages the patches, the head reads four colours."""
    sizes = {"patch_size": 8, "num_layers": 2, "num_heads": 1, "hidden_dim": 32, "mlp_dim": 4}
    monkeypatch.setitem(vit.SIZES, "tiny", sizes)
    keras.utils.set_random_seed(5)
    model = models.build(tiny(), logits=True)
    _, embed, encoder = vit_attention.backbone_of(model).layers
    zero = [embed.class_token, embed.position_embedding.embeddings, encoder.encoder_layers[0].mha.output_dense.kernel]
    zero += [block.mlp.dense_2.kernel for block in encoder.encoder_layers]
    zero += [encoder.encoder_layers[1].mha.query_dense.kernel]  # equal attention to every patch
    for weight in zero:
        weight.assign(np.zeros(weight.shape))
    for weight in (encoder.encoder_layers[1].mha.value_dense.kernel, encoder.encoder_layers[1].mha.output_dense.kernel):
        weight.assign(np.eye(32).reshape(weight.shape))
    light = np.array([[230, 230, 230]])
    squares = np.broadcast_to(np.concatenate([COLOURS, light])[:, None, None] / 127.5 - 1, (5, 8, 8, 3))
    patches = embed.patch_embedding(squares.astype(np.float32))[:, 0, 0]
    seen = np.asarray(encoder.encoder_layers[1].layer_norm_1(patches))
    head = model.get_layer("head_classes")
    head.kernel.assign(np.linalg.pinv(seen[:4] - seen[4], rcond=0.05))
    background = np.random.default_rng(1).integers(220, 241, (8, SIDE, SIDE, 3)).astype(np.float32)
    head.bias.assign(-np.mean(model(background), axis=0))
    return model


def test_rollout_of_two_blocks():
    first = np.array([[[0.2, 0.6, 0.2], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]])
    second = np.array([[[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    # Each half itself: first row 0.6 0.3 0.1; second row 0.5 0 0.5. The class token: half of row 0, half of row 2.
    rolled = vit_attention.rolled_out([first, second])
    np.testing.assert_allclose(rolled[0, 0], [0.3, 0.15, 0.55])
    np.testing.assert_allclose(rolled.sum(axis=-1), 1)


def test_the_unrolled_model_gives_equal_outputs(model, planted):
    pixels = planted[0][:5]
    tokens = vit_attention.Tokens(model)
    x = tokens.start(pixels)
    for number in range(len(tokens.blocks)):
        x, shares = tokens.block(x, number)
        np.testing.assert_allclose(np.sum(shares, axis=-1), 1, atol=1e-5)
    np.testing.assert_allclose(tokens.finish(x), model.predict_on_batch(pixels), atol=1e-5)
    assert tokens.grid == (6, 6)


def test_weights_and_graph_are_read_back(model, planted, tmp_path):
    pixels = planted[0][:3]
    expected = np.asarray(model(pixels))
    model.save_weights(tmp_path / "model.weights.h5")
    for other in (
        models.build(tiny(), initial_weights=False, logits=True),
        keras.models.model_from_json(model.to_json()),
    ):
        assert np.abs(other(pixels) - expected).max() > 1e-3
        other.load_weights(tmp_path / "model.weights.h5")
        np.testing.assert_allclose(other(pixels), expected, atol=1e-6)


@pytest.mark.slow
def test_presets_and_weight_files(model, tmp_path):
    source = vit_attention.backbone_of(model)
    source.save_to_preset(tmp_path / "preset")
    same = vit_attention.backbone_of(models.build(tiny(weights=str(tmp_path / "preset"))))
    for old, new in zip(source.get_weights(), same.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    larger = models.build(tiny(weights=str(tmp_path / "preset")).replace(image_size=64))
    assert vit_attention.Tokens(larger).grid == (8, 8)
    for old, new in zip(source.get_weights(), vit_attention.backbone_of(larger).get_weights(), strict=True):
        if old.shape == new.shape:
            np.testing.assert_array_equal(old, new)
        else:
            np.testing.assert_allclose(old[1:].mean(axis=0), new[1:].mean(axis=0), atol=0.01)
    source.save_weights(tmp_path / "base.weights.h5")
    models.build(tiny(weights=str(tmp_path / "base.weights.h5")))
    with pytest.raises(LeukoBenchError, match=r"base\.weights\.h5 does not fit the backbone of vit_b16 \("):
        models.build(tiny(weights=str(tmp_path / "base.weights.h5")).replace(image_size=64))
    (tmp_path / "preset" / "config.json").write_text("{}")
    with pytest.raises(LeukoBenchError, match=r"preset does not fit the backbone of vit_b16 \("):
        models.build(tiny(weights=str(tmp_path / "preset")))


def test_grad_cam_over_tokens_finds_the_planted_corner(reader, planted):
    pixels, labels, corners = planted
    assert (np.argmax(reader(pixels), axis=1) == labels).all()
    maps = cam.heatmaps(reader, pixels, labels, "gradcam", "")
    for values, (row, column) in zip(maps, corners, strict=True):
        inside = values[row : row + PATCH, column : column + PATCH]
        assert inside.max() == 1
        assert inside.sum() > 0.5 * values.sum(), "a uniform map would have 0.11, the square's share of the area"


def test_rollout_covers_the_image_and_grows_with_attention(model, planted):
    maps = cam.heatmaps(model, planted[0], planted[1], "rollout", "")
    assert maps.shape == (16, SIDE, SIDE)
    np.testing.assert_allclose(maps.max(axis=(1, 2)), 1)


def test_methods_and_layers(model):
    assert cam.methods_of(model) == ["gradcam", "rollout"]
    assert cam.check_layer(model, "") == "transformer_block_3"
    with pytest.raises(LeukoBenchError, match=r"^Field 'heatmap_layer' received 'transformer_block_4': .*_3\.$"):
        cam.check_layer(model, "transformer_block_4")  # of whose tokens only the class token reaches the output
    with one_line_error("'scorecam'", "vit_b16", "gradcam, rollout."):
        cam.check_method("scorecam", model)


@pytest.mark.parametrize(
    ("settings", "fact"),
    [
        (["image_size=100"], r"100 .*b16.*multiple of 16"),
        (["size=tiny"], r"size tiny.*--set weights=none"),
    ],
)
def test_wrong_settings_are_reported(settings, fact):
    with pytest.raises(LeukoBenchError, match=fact):
        models.config_for("vit_b16", settings=settings)
