"""Functions that a config from a folder would call are refused, unless they are trusted."""

import pytest

from qat.errors import ConfigError, ModelError
from qat.trust import HARMLESS, check, refuse_targets, targets_of

PLAIN = {
    "train": {"optimizer": {"_target_": "tf_keras.optimizers.Adam"}},
    "data": [{"target": {"_target_": "os.system"}}],
}


def test_every_target_is_found_with_its_key():
    assert dict(targets_of(PLAIN)) == {
        "train.optimizer._target_": "tf_keras.optimizers.Adam",
        "data.0.target._target_": "os.system",
    }
    assert list(targets_of({"a._target_": "os.remove"})) == [("a._target_", "os.remove")]


def test_optimizers_are_harmless_and_other_functions_are_named():
    assert "tf_keras.optimizers.Adam" in HARMLESS
    refuse_targets({"train": PLAIN["train"]}, "run")
    with pytest.raises(
        ConfigError, match=r"^run: data\.0\.target\._target_=os\.system names a function .* trust=\[os\.system\]"
    ):
        refuse_targets(PLAIN, "run")


@pytest.mark.parametrize("trust", [True, ["os.system"]])
def test_what_is_trusted_is_taken(trust):
    refuse_targets(PLAIN, "run", trust)


def test_trusting_one_function_trusts_no_other():
    with pytest.raises(ModelError, match=r"os\.system"):
        refuse_targets(PLAIN, "run", ["my.function"], ModelError)


@pytest.mark.parametrize("value", ["true", 1, [1], None, {"a": True}])
def test_trust_is_true_false_or_names(value):
    with pytest.raises(ConfigError, match=r"expected true, false, or the names"):
        check(value)
    check(["my.function"])
    check(True)
