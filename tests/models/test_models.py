"""Every model folder: configuration, graph, freezing. Parametrised over `models.names()`, so new folders are tested."""

import numpy as np
import pytest
from checks import one_line_error

import models
from models.engine.backend import keras_backend
from models.engine.config.base import Phase
from models.engine.explain import cam
from models.engine.layers import backbone
from models.engine.layers import head as model_head
from models.engine.training import schedule, trainer
from utils.errors import LeukoBenchError
from utils.runs.history import best_epoch
from utils.system import optional_packages

CLASSES = ("Benign", "Early", "Pre", "Pro")


def small(name, **values):
    plain = type(models.config_for(name))
    size = max(32, plain.SMALLEST)
    settings = {"classes": CLASSES, "image_size": size, "weights": "none", "dense": 8} | values
    return models.config_for(name, "tiny" if "tiny" in plain.PROFILES else "", **settings)


def some_pixels(model, count=2):
    return np.random.default_rng(0).integers(0, 256, (count, *model.input_shape[1:])).astype(np.float32)


@pytest.fixture(scope="module", params=models.names())
def built(request):
    keras_backend.start(3)
    config = small(request.param)
    return config, models.build(config)


def seen_first(model, pixels):
    """Return what reaches the first layer that learns: a convolution, or a nested backbone."""
    import keras

    number, layer = next((number, layer) for number, layer in enumerate(model.layers) if layer.weights)
    # The input of a nested backbone is that of its own graph.
    seen = model.layers[number - 1].output if hasattr(layer, "layers") else layer.input
    return np.asarray(keras.Model(model.inputs, seen)(pixels))


def test_raw_pixels_are_scaled_once(built):
    _, model = built
    shape = (1, *model.input_shape[1:])
    scaled = seen_first(model, np.linspace(0, 255, np.prod(shape), dtype=np.float32).reshape(shape))
    # Scaled twice, the whole range shrinks to a hundredth; not scaled at all, it stays 0 to 255.
    assert np.ptp(scaled) > 0.9
    assert np.abs(scaled).max() < 160


def test_output_is_a_probability_for_each_class(built):
    _, model = built
    pixels = some_pixels(model, 3)
    outputs = np.asarray(model(pixels, training=False))
    assert outputs.shape == (3, 4)
    np.testing.assert_allclose(outputs.sum(1), 1, atol=1e-5)
    if len(model.layers) < 100:  # the graph of a large one takes long to make; its evaluation in test_training does so
        np.testing.assert_allclose(model.predict_on_batch(pixels), outputs, atol=1e-5)


def test_the_heatmap_layer_is_one_that_can_be_read(built):
    config, model = built
    assert cam.check_layer(model, config.heatmap_layer) == config.heatmap_layer or not config.heatmap_layer


def test_a_missing_keras_hub_is_one_line_with_the_install_command(monkeypatch):
    keras_backend.start()
    monkeypatch.setattr(optional_packages, "installed", lambda package: package != "keras_hub")
    for name in (name for name in models.names() if models.config_for(name).NEEDS):
        with pytest.raises(LeukoBenchError, match=rf"{name} needs .*keras-hub.* pip install keras-hub"):
            models.build(small(name))
        assert name in models.names() and models.config_for(name).phases()


@pytest.mark.slow
def test_a_graph_that_was_copied_is_saved_and_loaded_like_any_other(tmp_path):
    keras_backend.start(4)
    import keras

    config = small("resnet18")
    model = models.build(config)
    pixels = some_pixels(model)
    expected = np.asarray(model(pixels))
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "model.keras")(pixels), expected)
    model.save_weights(tmp_path / "model.weights.h5")
    again = models.build(config, initial_weights=False)
    again.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(again(pixels), expected)
    assert np.isfinite(keras.Model(again.input, again.get_layer(config.heatmap_layer).output)(pixels)).all()


@pytest.mark.parametrize(
    ("name", "lowest", "highest"),
    [
        ("vgg16", (-103.939, -116.779, -123.68), (151.061, 138.221, 131.32)),  # BGR minus the means
        ("resnet18", (-2.1179, -2.0357, -1.8044), (2.2489, 2.4286, 2.64)),  # mean and spread by channel
        ("alexnet", (-1, -1, -1), (1, 1, 1)),
    ],
)
def test_a_model_sees_black_and_white_as_its_family_does(name, lowest, highest):
    keras_backend.start()
    model = models.build(small(name))
    images = np.stack([np.full(model.input_shape[1:], value, np.float32) for value in (0, 255)])
    np.testing.assert_allclose(seen_first(model, images)[:, 9, 9], [lowest, highest], atol=1e-3)


@pytest.mark.slow
def test_resnet18_is_the_preset_behind_its_own_preprocessing(tmp_path):
    keras_backend.start(5)
    import keras_hub

    hub = keras_hub.models.ResNetBackbone(
        [64], [7], [64, 128, 256, 512], [2, 2, 2, 2], [1, 2, 2, 2], block_type="basic_block"
    )
    hub.get_layer("conv1_bn").moving_mean.assign(np.linspace(-1, 1, 64))
    hub.save_to_preset(str(tmp_path / "resnet_18_imagenet"))
    hub.save_weights(tmp_path / "base.weights.h5")
    mean, spread = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    # as keras-hub converts timm's model, whose preset it is
    converter = keras_hub.layers.ResNetImageConverter(
        scale=[1 / 255 / s for s in spread], offset=[-m / s for m, s in zip(mean, spread, strict=True)]
    )
    for weights in (tmp_path / "resnet_18_imagenet", tmp_path / "base.weights.h5"):
        model = models.build(small("resnet18", weights=str(weights)))
        pixels = some_pixels(model)
        features = backbone.split_at_head(model)[0](pixels)
        expected = np.asarray(hub(converter(pixels))).mean(axis=(1, 2))
        np.testing.assert_allclose(features, expected, rtol=1e-3, atol=1e-4)
    (tmp_path / "resnet_18_imagenet" / "model.weights.h5").write_bytes(b"cut")
    with pytest.raises(LeukoBenchError, match=r"resnet_18_imagenet does not fit the backbone of resnet18 \("):
        models.build(small("resnet18", weights=str(tmp_path / "resnet_18_imagenet")))


def test_alexnet_has_the_papers_layers_and_begins_from_the_convolutions_of_a_file(tmp_path):
    keras_backend.start(1)
    import keras

    whole = models.config_for("alexnet", classes=CLASSES, weights="none")
    source = models.build(small("alexnet"))
    convolutions = [layer for layer in source.layers if isinstance(layer, keras.layers.Conv2D)]
    assert [layer.filters for layer in convolutions] == [96, 256, 384, 384, 256]
    assert [layer.kernel_size[0] for layer in convolutions] == [11, 5, 3, 3, 3]
    assert (whole.image_size, whole.dense, whole.dropout) == (227, 4096, 0.5)
    assert [phase.base_frozen for phase in whole.phases()] == [False]
    assert source.get_layer("pool5").output.shape[1:] == (1, 1, 256), "the smallest image leaves one pixel"
    source.save_weights(tmp_path / "model.weights.h5")
    config = small("alexnet", weights=str(tmp_path / "model.weights.h5"), classes=("one", "other"))
    loaded = models.build(config)
    for layer in convolutions:
        np.testing.assert_array_equal(layer.kernel, loaded.get_layer(layer.name).kernel)
    assert [phase.base_frozen for phase in config.phases()] == [True, False]
    with pytest.raises(LeukoBenchError, match=r"image_size 66 .*alexnet.* 67\.$"):
        small("alexnet", image_size=66)


def test_densenet121_is_trained_as_published():
    config = models.config_for("densenet121")
    (phase,) = config.phases()
    assert (phase.base_frozen, phase.learning_rate, config.weight_decay) == (False, 1e-4, 1e-5)
    assert (config.variant.name, config.variant.clip, config.variant.tiles) == ("clahe", 2.0, 8)
    assert (config.rate_drop_every, config.rate_drop, config.patience, config.batch_size) == (7, 0.1, 5, 32)
    assert config.augmentation.flips and config.augmentation.rotation and config.augmentation.colour


@pytest.mark.parametrize("name", ["vgg16", "resnet18"])
def test_an_extractor_has_two_regimes(name):
    config = models.config_for(name)
    assert [(p.name, p.base_frozen) for p in config.phases()] == [("head", True), ("fine-tune", False)]
    frozen = models.config_for(name, settings=["freeze=always"])
    assert [p.base_frozen for p in frozen.phases()] == [True] and frozen.flavour == ("frozen",)
    assert config.dense == frozen.dense == 256


def test_head_is_float32_under_mixed_precision():
    keras_backend.start()
    for name in ("mixed_float16", "mixed_bfloat16"):
        with keras_backend.dtype_policy(name):
            model = models.build(small("cnn"))
        assert {layer.compute_dtype for layer in model.layers if layer.name.startswith(model_head.HEAD)} == {"float32"}
        assert model.get_layer("conv1").compute_dtype == name.removeprefix("mixed_")


def test_base_is_frozen_and_unfrozen_by_phase():
    import keras

    keras_backend.start(3)
    model = models.build(small("resnet50"))
    frozen, whole = Phase("head", 1, 1e-3, True, False), Phase("fine-tune", 1, 1e-4, False, False)
    base = [layer for layer in model.layers if not layer.name.startswith(model_head.HEAD) and layer.weights]
    norms = [layer for layer in base if isinstance(layer, keras.layers.BatchNormalization)]
    backbone.prepare_phase(model, frozen, pretrained=True)
    assert not any(layer.trainable for layer in base)
    assert model.trainable_weights
    backbone.prepare_phase(model, whole, pretrained=True)
    assert {layer.trainable for layer in norms} == {False}
    assert all(layer.trainable for layer in base if layer not in norms)
    backbone.prepare_phase(model, whole, pretrained=False)
    assert all(layer.trainable for layer in base)


@pytest.mark.parametrize(
    ("settings", "phases", "initialisation"),
    [
        ({}, [("head", 8, True, False), ("fine-tune", 12, False, True)], "ImageNet"),
        ({"weights": "none"}, [("train", 20, False, True)], "random"),
        ({"weights": "none", "freeze": "always", "head_epochs": 0}, [("head", 20, True, False)], "random features"),
        ({"freeze": "never"}, [("train", 20, False, True)], "ImageNet"),
        ({"weights": "/x/base.h5", "head_epochs": 20}, [("head", 20, True, False)], "file base.h5"),
    ],
)
def test_phases_follow_from_weights_and_freezing(settings, phases, initialisation):
    config = models.config_for("efficientnetv2s", **settings)
    assert [(p.name, p.epochs, p.base_frozen, p.class_weights) for p in config.phases()] == phases
    assert config.initialisation == initialisation


def row(epoch, phase, accuracy, loss=1.0):
    return {"epoch": epoch, "phase": phase, "val_accuracy": accuracy, "val_loss": loss}


def test_schedule_moves_on_after_the_epochs_or_the_patience_of_a_phase():
    head, tune = Phase("head", 3, 1e-3, True, False), Phase("fine-tune", 10, 1e-4, False, False)
    plan = (head, tune)
    assert schedule.next_phase([], plan, 2) is head
    assert schedule.next_phase([row(1, "head", 0.5)], plan, 2) is head
    stale = [row(1, "head", 0.5), row(2, "head", 0.4), row(3, "head", 0.4)]
    assert schedule.next_phase(stale[:2], plan, 1) is tune
    assert schedule.next_phase(stale, plan, 9) is tune
    tuned = [*stale, row(4, "fine-tune", 0.3), row(5, "fine-tune", 0.2), row(6, "fine-tune", 0.2)]
    assert schedule.next_phase(tuned, plan, 3) is tune
    assert schedule.next_phase(tuned, plan, 2) is None


def test_best_epoch_breaks_ties_by_loss_then_by_time():
    rows = [row(1, "t", 0.9, 0.5), row(2, "t", 0.9, 0.4), row(3, "t", 0.9, 0.4), row(4, "t", 0.8, 0.1)]
    assert best_epoch(rows)["epoch"] == 2


@pytest.mark.parametrize(
    ("settings", "facts"),
    [
        (["epoch=5"], ("'epoch'", "received 5", "'epochs'", "learning_rate")),
        (["epochs=five"], ("'epochs'", "'five'", "integer")),
        (["epochs=0"], ("'epochs'", "received 0", "equal to 1")),
        (["precision=half"], ("'precision'", "'half'", "'auto', 'float32'")),
        (["augmentation.flip=true"], ("'augmentation.flip'", "received True", "'flips'")),
        (["filters=[]"], ("'filters'", "received []", "at least 1")),
        (["image_size=16", "filters=[8,8,8,8,8]"], ("5 blocks", "16 px")),
        (["epochs"], ("field=value", "'epochs'")),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(settings, facts):
    with one_line_error(*facts):
        models.config_for("cnn", settings=settings)


def test_an_unknown_heatmap_layer_or_method_is_refused_before_training(home, tmp_path):
    config = small("cnn", dataset="tiny", filters=(4, 8), heatmap_layer="conv3")
    with pytest.raises(LeukoBenchError, match=r"'heatmap_layer' received 'conv3'"):
        trainer.train(config, tmp_path)
    for method, line in (
        ("rollout", r"^Method 'rollout' does not fit cnn, a convolutional model\. Methods that fit: gradcam, "),
        ("gradcan", r"^Unknown method 'gradcan'\. Did you mean 'gradcam'\?"),
    ):
        with pytest.raises(LeukoBenchError, match=line):
            trainer.train(small("cnn", dataset="tiny", heatmap_method=method), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_label_names_the_differences_from_the_default_model():
    def flavour(name, **values):
        return models.config_for(name, **values).flavour

    assert flavour("vgg16") == flavour("resnet50", freeze="always") == ()
    assert flavour("vgg16", freeze="always") == flavour("vgg16", epochs=5) == ("frozen",)
    assert flavour("vgg16", freeze="always", weights="none", variant="gray") == ("gray", "random features")
    assert flavour("densenet121") == ("clahe",)
    assert flavour("densenet121", variant={"name": "clahe", "clip": 4}) == ("clahe 4, 8 x 8",)
    assert flavour("cnn", variant={"name": "gray", "clip": 4}) == ("gray",)


def test_settings_override_the_profile_and_keep_its_other_values():
    config = models.config_for("cnn", "demo", ["augmentation.rotation=15", "epochs=3", "dataset=007"])
    assert (config.image_size, config.epochs, config.dataset) == (64, 3, "007")
    assert config.augmentation.flips and config.augmentation.rotation == 15


REMEDIES = ("connect to the internet", "--set weights=FILE", "--set weights=none")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet50", "resnet18"])
def test_no_internet_is_one_line_with_three_remedies(name, guide, tmp_path):
    """One of keras.applications, one of keras-hub."""
    dead = "http://127.0.0.1:9"
    done = guide(
        *("train", name, "--dataset", "tiny", "--set", "image_size=32"),
        command=("run_guide.py",),
        **dict.fromkeys(("KERAS_HOME", "KAGGLEHUB_CACHE"), str(tmp_path)),
        **dict.fromkeys(("https_proxy", "HTTPS_PROXY", "http_proxy"), dead),
    )
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if line]
    assert len(errors) == 1, done.stderr
    assert name in errors[0] and all(remedy in errors[0] for remedy in REMEDIES)


# A ViT would be drawn at random in full first, which takes seconds.
IMAGENET = [n for n in models.names() if models.config_for(n).weights == "imagenet" and n != "vit_b16"]


@pytest.mark.parametrize("name", IMAGENET)
def test_unavailable_imagenet_weights_are_one_line_for_every_model(name, monkeypatch):
    def fail(*_, **__):
        raise OSError("no route to host")

    keras_backend.start()
    import keras

    for architecture in dir(keras.applications):
        if architecture[0].isupper():
            monkeypatch.setattr(keras.applications, architecture, fail)
    if optional_packages.installed("keras_hub"):
        import keras_hub

        monkeypatch.setattr(keras_hub.models.Backbone, "from_preset", fail)
    config = models.config_for(name, classes=CLASSES, image_size=32)
    with one_line_error(name, "no route to host", *REMEDIES):
        models.build(config)


@pytest.mark.slow
def test_initial_weights_come_from_a_file_of_the_backbone_or_fail_in_one_line(tmp_path):
    keras_backend.start(1)
    source = models.build(small("resnet50"))
    import keras

    part = keras.Model(source.input, source.get_layer("conv5_block3_out").output)
    part.save_weights(tmp_path / "base.weights.h5")
    loaded = models.build(small("resnet50", weights=str(tmp_path / "base.weights.h5")))
    kernel = "conv4_block2_2_conv"
    np.testing.assert_array_equal(source.get_layer(kernel).get_weights()[0], loaded.get_layer(kernel).get_weights()[0])
    (tmp_path / "broken.h5").write_bytes(b"not a file of weights")
    with pytest.raises(LeukoBenchError, match=r"broken\.h5 does not fit the backbone of resnet50"):
        models.build(small("resnet50", weights=str(tmp_path / "broken.h5")))
    with pytest.raises(LeukoBenchError, match=r"'weights' received 'nowhere\.h5'"):
        models.build(small("cnn", weights="nowhere.h5"))
    with pytest.raises(LeukoBenchError, match=r"no ImageNet weights for cnn.*weights=none"):
        models.build(small("cnn", weights="imagenet"))
