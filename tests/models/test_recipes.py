"""Recipes, learning-rate schedules, and the stress families that a recipe trains on."""

import pytest

import models
from models.engine.config import recipes
from models.engine.config.base import Phase
from models.engine.training import schedule
from utils.errors import LeukoBenchError
from utils.runs import seen_families


@pytest.mark.parametrize("name", models.names())
@pytest.mark.parametrize("recipe", recipes.names())
def test_every_model_takes_every_recipe_and_is_named_after_it(name, recipe):
    plain, config = models.config_for(name), models.config_for(name, recipe=recipe)
    assert config.recipe == recipe and recipe in " ".join(config.flavour)
    assert config.hash() != plain.hash()
    assert config.augmentation.flips == plain.augmentation.flips, "the model's own augmentation stays"
    assert config == models.config_for(name, settings=[f"recipe={recipe}"])
    assert config == models.config_for(name, **{k: v for k, v in config.model_dump().items() if k != "model"})
    trained = seen_families.trained_on(config.model_dump())
    assert trained and trained >= seen_families.trained_on(plain.model_dump())


def test_a_recipe_that_is_contradicted_or_unknown_is_refused():
    with pytest.raises(LeukoBenchError, match=r"intervention.stain_swap=1; received intervention.stain_swap=0.5"):
        models.config_for("cnn", settings=["recipe=stain_swap", "intervention.stain_swap=0.5"])
    with pytest.raises(LeukoBenchError, match=r"'gray' sets variant=gray; received variant=clahe"):
        models.config_for("cnn", settings=["variant=clahe"], recipe="gray")
    with pytest.raises(LeukoBenchError, match=r"'stainswap'.*'stain_swap'"):
        models.config_for("cnn", recipe="stainswap")
    loose = models.config_for("cnn", settings=["recipe=stain_swap", "intervention.grey=0.2", "epochs=3"])
    assert (loose.intervention.stain_swap, loose.intervention.grey, loose.epochs) == (1, 0.2, 3)


def test_what_a_run_trained_on_follows_from_its_settings_whatever_its_name():
    def of(**values):
        return seen_families.trained_on(models.config_for("cnn", **values).model_dump())

    assert of() == frozenset()
    assert of(variant="gray") == {"grey", "tinted grey", "hue", "saturation"}
    assert of(intervention={"stain_swap": 0.1}) == {
        "stain swap",
        "same-class swap",
        "stain reference, reinhard",
    }
    assert of(variant="macenko") == {"macenko swap", "stain reference, macenko"}
    assert of(intervention={"erasing": 0.5}) == {"deposit", "bubbles"}
    assert of(augmentation={"flips": True, "contrast": 0.1}) == {"brightness"}
    assert of(recipe="strong").isdisjoint({"noise", "blur", "defocus", "jpeg", "scale bar"})
    assert "macenko swap" not in of(recipe="stain_swap") and "background" in of(recipe="strong")
    assert seen_families.trained_on({}) == frozenset(), "a run from before there were interventions"


def test_the_lowest_unseen_is_known_only_where_every_unseen_family_was_measured():
    def lowest(measured, trained=("grey",), known=("none", "grey", "blur", "noise", "cells removed")):
        return seen_families.lowest_unseen(trained, measured, known)

    measured = {"none": 0.1, "grey": 0.2, "blur": 0.9, "noise": 0.8, "cells removed": 0.3}
    assert lowest(measured) == ("noise", 0.8) and lowest(measured, trained=()) == ("grey", 0.2)
    assert lowest({"none": 1.0, "blur": 0.9}) is None and lowest({}, known=()) is None
    assert lowest(measured, trained=("grey", "blur", "noise")) is None


def test_the_rate_drops_within_a_phase_and_restarts_in_the_next():
    fields = {"head_epochs": 3, "epochs": 6, "learning_rate": 1e-2, "fine_tune_learning_rate": 1e-3}
    config = models.config_for("resnet50", **fields, rate_drop_every=2, rate_drop=0.1)
    history, rates = [], []
    while phase := schedule.next_phase(history, config.phases(), patience=9):
        rates.append(schedule.rate(history, phase, config))
        history.append({"phase": phase.name, "epoch": len(history) + 1, "val_accuracy": 0.5, "val_loss": 1.0})
    assert rates == pytest.approx([1e-2, 1e-2, 1e-3, 1e-3, 1e-3, 1e-4])


def test_a_rate_warms_up_and_falls_along_half_a_cosine():
    config = models.config_for("cnn", warmup_epochs=2, cosine=True)
    phase = Phase("train", 10, 0.3, False, False)
    rates = [schedule.rate([{"phase": "train"}] * passed, phase, config) for passed in range(10)]
    assert rates[:3] == pytest.approx([0.1, 0.2, 0.3])
    assert rates[2:] == sorted(rates[2:], reverse=True) and len(set(rates[2:])) == 8
    assert rates[6] == pytest.approx(0.15) and 0.003 <= rates[9] < 0.02
    flat = models.config_for("cnn")
    assert {schedule.rate([{"phase": "train"}] * n, phase, flat) for n in range(10)} == {0.3}
