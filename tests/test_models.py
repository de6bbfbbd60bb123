"""Every model folder: configuration, graph, freezing. Parametrised over `models.names()`, so a new folder is tested."""

import numpy as np
import pytest

import models
from models import backbones, layers, runtime, schedule, training
from models.base_config import BackboneConfig, Phase
from utils.errors import LeukoBenchError

CLASSES = ("Benign", "Early", "Pre", "Pro")


def small(name, **values):
    settings = {"classes": CLASSES, "image_size": 32, "weights": "none"} | values
    return models.config_for(name, **settings)


@pytest.fixture(scope="module", params=models.names())
def built(request):
    runtime.start(3)
    config = small(request.param)
    return config, models.build(config)


def first_convolution(model):
    import keras

    layer = next(layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D))
    return keras.Model(model.inputs, layer.input)


def test_raw_pixels_are_scaled_once(built):
    _, model = built
    ramp = np.linspace(0, 255, 32 * 32 * 3, dtype=np.float32).reshape(1, 32, 32, 3)
    scaled = np.asarray(first_convolution(model)(ramp))
    # Scaled twice, the whole range shrinks to a hundredth; not scaled at all, it stays 0 to 255.
    assert np.ptp(scaled) > 0.9
    assert np.abs(scaled).max() < 160


def test_output_is_a_probability_for_each_class(built):
    _, model = built
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype(np.float32)
    outputs = np.asarray(model(pixels, training=False))
    assert outputs.shape == (3, 4)
    np.testing.assert_allclose(outputs.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(model.predict_on_batch(pixels), outputs, atol=1e-5)


def test_heatmap_layer_is_in_the_graph_and_spatial(built):
    config, model = built
    assert len(model.get_layer(config.heatmap_layer).output.shape) == 4


def test_head_is_float32_under_mixed_precision():
    runtime.start()
    for name in ("mixed_float16", "mixed_bfloat16"):
        with runtime.dtype_policy(name):
            model = models.build(small("cnn"))
        assert {layer.compute_dtype for layer in model.layers if layer.name.startswith(layers.HEAD)} == {"float32"}
        assert model.get_layer("conv1").compute_dtype == name.removeprefix("mixed_")


def test_base_is_frozen_and_unfrozen_by_phase():
    import keras

    runtime.start(3)
    model = models.build(small("resnet50"))
    frozen, whole = Phase("head", 1, 1e-3, True, False), Phase("fine-tune", 1, 1e-4, False, False)
    base = [layer for layer in model.layers if not layer.name.startswith(layers.HEAD) and layer.weights]
    norms = [layer for layer in base if isinstance(layer, keras.layers.BatchNormalization)]
    backbones.prepare_phase(model, frozen, pretrained=True)
    assert not any(layer.trainable for layer in base)
    assert model.trainable_weights
    backbones.prepare_phase(model, whole, pretrained=True)
    assert {layer.trainable for layer in norms} == {False}
    assert all(layer.trainable for layer in base if layer not in norms)
    backbones.prepare_phase(model, whole, pretrained=False)
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
    assert schedule.best_epoch(rows)["epoch"] == 2


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (["epoch=5"], "Unknown field 'epoch' (received 5). Did you mean 'epochs'? Valid fields: "),
        (["epochs=five"], "Field 'epochs' received 'five': Input should be a valid integer"),
        (["epochs=0"], "Field 'epochs' received 0: Input should be greater than or equal to 1."),
        (["precision=half"], "Field 'precision' received 'half': Input should be 'auto', 'float32'"),
        (["augmentation.flip=true"], "Unknown field 'augmentation.flip' (received True). Did you mean 'flips'?"),
        (["dense=0"], "Field 'dense' received 0: Input should be greater than or equal to 1."),
        (["filters=[]"], "Field 'filters' received []: Tuple should have at least 1 item"),
        (["image_size=16", "filters=[8,8,8,8,8]"], "5 blocks leave nothing of images of 16 px."),
        (["epochs"], "--set takes field=value; received 'epochs'."),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(settings, line):
    with pytest.raises(LeukoBenchError) as caught:
        models.config_for("cnn", settings=settings)
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


def test_a_heatmap_layer_that_is_not_there_is_said_before_any_training(home, tmp_path):
    config = small("cnn", dataset="tiny", filters=(4, 8), heatmap_layer="conv3")
    with pytest.raises(
        LeukoBenchError, match=r"^Field 'heatmap_layer' received 'conv3': cnn has no such layer .* Did you"
    ):
        training.train(config, tmp_path)
    assert not list(tmp_path.iterdir())


def test_settings_go_over_the_profile_and_keep_its_other_values():
    config = models.config_for("cnn", "demo", ["augmentation.rotation=15", "epochs=3", "dataset=007"])
    assert (config.image_size, config.epochs, config.dataset) == (64, 3, "007")
    assert config.augmentation.flips and config.augmentation.rotation == 15
    with pytest.raises(
        LeukoBenchError, match=r"^Unknown profile 'dmo'\. Did you mean 'demo'\? Profiles of this model: demo"
    ):
        models.config_for("cnn", "dmo")


def test_unknown_model_names_the_nearest():
    with pytest.raises(LeukoBenchError, match=r"^Unknown model 'resnet'\. Did you mean 'resnet50'\? Valid models: cnn"):
        models.config_for("resnet")


def test_configs_differ_in_hash_and_survive_json():
    one, two = small("cnn", seed=1), small("cnn", seed=2)
    assert one.hash() != two.hash()
    fields = one.model_dump(mode="json")
    assert models.config_for(fields.pop("model"), **fields) == one


@pytest.mark.parametrize("name", [n for n in models.names() if isinstance(models.config_for(n), BackboneConfig)])
def test_imagenet_out_of_reach_is_one_line_with_three_ways_on(name, guide, tmp_path):
    dead = "http://127.0.0.1:9"
    done = guide(
        "train", name, "--dataset", "tiny", "--set", "image_size=32",
        KERAS_HOME=str(tmp_path), https_proxy=dead, HTTPS_PROXY=dead, http_proxy=dead,
    )  # fmt: skip
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if line]
    assert len(errors) == 1, done.stderr
    assert errors[0].startswith(f"Error: The ImageNet weights of {name} cannot be downloaded (")
    for way in ("connect to the internet", "--set weights=FILE", "--set weights=none"):
        assert way in errors[0]


def test_initial_weights_come_from_a_file_of_the_backbone_or_fail_in_one_line(tmp_path):
    runtime.start(1)
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
    with pytest.raises(LeukoBenchError, match=r"^Field 'weights' received 'nowhere\.h5', which is no file\. Valid: "):
        models.build(small("cnn", weights="nowhere.h5"))
    with pytest.raises(LeukoBenchError, match=r"^There are no ImageNet weights for cnn\."):
        models.build(small("cnn", weights="imagenet"))
