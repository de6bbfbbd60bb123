"""Architectures of keras.applications as models: their names without Keras, their graphs, the way to run them."""

import numpy as np
import pytest
from checks import one_line_error
from command_line import packages_of

import models
from models import keras_applications
from models.engine.backend import keras_backend
from models.engine.explain import cam
from models.engine.layers import backbone, weight_file
from utils.errors import LeukoBenchError

CLASSES = ("Benign", "Early", "Pre", "Pro")


def small(name, **values):
    return models.config_for(f"keras:{name}", **({"classes": CLASSES, "image_size": 32, "weights": "none"} | values))


def scaled(model, values):
    """Return what the first convolution sees of even images of these values."""
    import keras

    layer = next(each for each in model.layers if isinstance(each, keras.layers.Conv2D))
    images = np.stack([np.full(model.input_shape[1:], value, np.float32) for value in values])
    return np.asarray(keras.Model(model.inputs, layer.input)(images))


def test_names_are_those_of_keras_and_found_without_it():
    shown, packages = packages_of("from models import keras_applications; print(keras_applications.names())")
    assert "keras" not in packages
    import keras

    offered = {name for name in dir(keras.applications) if name[0].isupper()}
    assert {name.removeprefix("keras:") for name in keras_applications.names()} == offered
    assert shown.count("keras:") == len(offered) > 35


def test_every_architecture_has_a_family_that_preprocesses_and_a_smallest_size():
    import keras

    sizes = {name: keras_applications.smallest(name) for name in keras_applications.names()}
    assert sizes["keras:InceptionV3"] == 75 and sizes["keras:Xception"] == 71 and sizes["keras:VGG19"] == 32
    for name in sizes:
        assert callable(getattr(keras.applications, keras_applications._families()[name[6:]]).preprocess_input)
        assert models.config_for(name).image_size >= sizes[name]


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("keras:MobilNet", "'keras:MobileNet'?"), ("keras:vgg19", "'keras:VGG19'?"), ("keras:", "")],
)
def test_an_unknown_architecture_is_one_line_with_the_nearest(name, nearest):
    with one_line_error(f"'{name}'", nearest, "ConvNeXtBase, "):
        models.config_for(name)


def test_an_image_too_small_for_the_architecture_is_refused_before_keras_is_asked():
    with pytest.raises(LeukoBenchError, match=r"^image_size 64 is too small for keras:InceptionV3: use at least 75\.$"):
        small("InceptionV3", image_size=64)


@pytest.mark.parametrize(
    ("name", "lowest", "highest"),
    [
        ("MobileNet", (-1, -1, -1), (1, 1, 1)),
        ("ResNet50V2", (-1, -1, -1), (1, 1, 1)),
        ("ResNet101", (-103.939, -116.779, -123.68), (151.061, 138.221, 131.32)),
        ("DenseNet201", (-2.1179, -2.0357, -1.8044), (2.2489, 2.4286, 2.64)),
        ("ConvNeXtTiny", (0, 0, 0), (255, 255, 255)),  # the graph itself begins with the rule
    ],
)
def test_pixels_are_scaled_by_the_rule_of_the_family(name, lowest, highest, monkeypatch):
    import keras

    keras_backend.start(3)

    def one_convolution(_, inputs, *__):
        return keras.Model(keras.utils.get_source_inputs(inputs), keras.layers.Conv2D(2, 3)(inputs))

    monkeypatch.setattr(keras_applications, "load_application", one_convolution)
    seen = scaled(models.build(small(name)), (0, 255))
    np.testing.assert_allclose(seen[0, 9, 9], lowest, atol=1e-3)
    np.testing.assert_allclose(seen[1, 9, 9], highest, atol=1e-3)


def test_an_architecture_is_a_flat_model_with_a_head_and_a_heatmap_of_its_own():
    keras_backend.start(3)
    config = small("MobileNetV3Small", dense=8)
    model = models.build(config, logits=True)
    np.testing.assert_allclose(scaled(model, (0, 255))[:, 9, 9], [(-1, -1, -1), (1, 1, 1)], atol=1e-5)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.float32)
    assert cam.heatmaps(model, pixels, [0, 1], "gradcam", config.heatmap_layer).shape == (2, 32, 32)
    base, head = backbone.split_at_head(model)
    np.testing.assert_allclose(head(base(pixels)), model(pixels), atol=1e-5)


def test_efficientnet_sees_the_same_range_with_and_without_a_download(monkeypatch, tmp_path):
    """Keras divides once more only while it loads ImageNet weights itself; ours does so whatever the weights are."""
    import keras
    from keras.src.applications import efficientnet
    from keras.src.utils import file_utils

    keras_backend.start(3)
    mean, spread = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])

    def load(model, *_):
        norm = next(layer for layer in model.layers if isinstance(layer, keras.layers.Normalization))
        norm.adapt_mean.assign(mean)
        norm.adapt_variance.assign(spread)  # as in the published file, which calls it variance
        norm.finalize_state()

    monkeypatch.setattr(efficientnet, "DEFAULT_BLOCKS_ARGS", efficientnet.DEFAULT_BLOCKS_ARGS[:1])  # quick to build
    file = tmp_path / "base.h5"
    file.touch()
    with monkeypatch.context() as patch:
        patch.setattr(file_utils, "get_file", lambda *_, **__: str(file))
        patch.setattr(keras.Model, "load_weights", load)
        patch.setattr(weight_file, "load", load)
        trained = models.build(small("EfficientNetB0", weights="imagenet"))
        from_file = models.build(small("EfficientNetB0", weights=str(file)))
    trained.save_weights(tmp_path / "model.weights.h5")
    opened = models.build(small("EfficientNetB0", weights="imagenet"), initial_weights=False)
    opened.load_weights(tmp_path / "model.weights.h5")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.float32)
    np.testing.assert_array_equal(opened(pixels), trained(pixels))
    expected = (np.stack([np.zeros(3), np.ones(3)]) - mean) / spread
    for model in (trained, from_file, opened):
        np.testing.assert_allclose(scaled(model, (0, 255))[:, 9, 9], expected, atol=1e-4)


def test_the_module_runs_as_a_script_of_an_architecture(guide, home):
    done = guide(command=("-m", "models.keras_applications"))
    assert done.returncode == 2 and done.stderr.startswith("Error: Give a command and an architecture: ")
    done = guide("train", "keras:MobilNet", command=("-m", "models.keras_applications"))
    assert done.returncode == 1 and done.stderr.startswith("Error: Unknown model 'keras:MobilNet'. Did you mean ")
