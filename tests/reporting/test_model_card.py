"""A card from plain values: what is somebody's own is not passed off as the Hub's, and no name breaks its tables."""

import shlex
from dataclasses import replace

import pytest
import yaml

from qat.reporting.model_card import Card, front_matter, model_card
from qat.results import Metric, RunResult, Variant

EVIL = 'a|b\n---\nlicense: mit\n"```'
VARIANT = Variant(Metric("accuracy", 0.98), "qat_int8/model.tflite", 1024, True, "int8", "int8", accuracy=0.98)


def card_of(data="npz", layout="NHWC", variant=VARIANT, **more):
    config = {"model": {"name": "saved"}, "data": {"name": data}, "quant": {"name": "qat"}}
    result = RunResult({"qat_int8": variant}, {"seed": 0}, {"qat": "0"}, config, {"qat_int8/model.tflite": "a" * 64})
    tensor = {"name": EVIL, "dtype": "int8", "shape": [1, 4, 4, 1], "scale": 0.5, "zero_point": 0}
    contract = {"shape": [4, 4, 1], "layout": layout, "raw_dtype": "uint8"}
    return Card(result, "qat_int8", {"inputs": [tensor], "contract": contract, "labels": [EVIL, "b"]}, "", **more)


def test_a_set_of_the_hub_has_its_name_there_and_somebodys_own_has_none():
    assert front_matter(card_of("cifar10"))["datasets"] == ["uoft-cs/cifar10"]
    assert "datasets" not in front_matter(card_of("npz"))


def test_a_license_is_the_users_or_none():
    assert "license" not in front_matter(card_of())
    assert front_matter(card_of(license="apache-2.0"))["license"] == "apache-2.0"


def test_what_a_task_is_is_said_only_where_it_is_known():
    assert front_matter(card_of())["pipeline_tag"] == "image-classification"
    assert "pipeline_tag" not in front_matter(card_of(layout="features"))
    auc = front_matter(card_of(variant=replace(VARIANT, metric=Metric("auc", 0.9), accuracy=None)))
    assert "pipeline_tag" not in auc
    assert auc["metrics"] == ["roc_auc"]


def test_names_of_others_stay_in_their_cells():
    text = model_card(card_of(overrides=["data.path='/home/me/a b.npz'", "quant.skip=[^a$]"]))
    _, front, body = text.split("---\n", 2)
    assert "license" not in yaml.safe_load(front)
    (row,) = [line for line in body.splitlines() if line.startswith("| inputs ")]
    assert "a\\|b --- license: mit" in row
    _, after = body.split("```sh\n")
    assert shlex.split(after.split("\n```")[0]) == ["qat", "train", "data.path='a b.npz'", "quant.skip=[^a$]"]
    assert "/home" not in text


@pytest.mark.parametrize("labels", [[], ["one"]])
def test_without_labels_the_code_shows_outputs(labels):
    card = card_of()
    assert "print(outputs[0])" in model_card(replace(card, model_json={**card.model_json, "labels": labels}))
