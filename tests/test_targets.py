"""A `_target_` that cannot be used: which part of its name is wrong, the nearest right one, what it should be given."""

import pytest

from qat.errors import ConfigError, ModelError
from qat.targets import call, check_module, import_object, resolve

MODULE = """\
def my_model(input_shape, classes, width=8):
    return input_shape, classes, width

def failing(input_shape, classes):
    return {}["mine"]
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of the user's, as `python -m` finds it."""
    (tmp_path / "their_target_models.py").write_text(MODULE)
    (tmp_path / "broken_target_models.py").write_text("import os\nimport not_there_at_all\ndef f(): pass\n")
    (tmp_path / "misspelt_target_models.py").write_text("x = 1\ndef f(:\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("their_target_modelz.my_model", "no module their_target_modelz in this folder ("),
        ("their_target_modelz.my_model", "Did you mean their_target_models?"),
        (
            "their_target_models.my_modle",
            "module their_target_models has no my_modle. Did you mean their_target_",
        ),
        ("their_target_models.nope", "module their_target_models has no nope."),
        ("their_target_models.my_model.more", "function their_target_models.my_model has no more."),
        ("broken_target_models.f", "module broken_target_models is there, but its import fails: ModuleNotFoundError"),
        ("broken_target_models.f", "broken_target_models.py, line 2)"),
        ("misspelt_target_models.f", "its import fails: SyntaxError"),
        ("misspelt_target_models.f", "misspelt_target_models.py, line 2)"),
        ("collections.abcd.f", "module collections has no abcd. Did you mean collections.abc?"),
    ],
)
def test_it_is_said_which_part_of_a_name_is_wrong(folder, name, message):
    with pytest.raises(ModelError) as refused:
        import_object(f"model.target._target_={name}", name, ModelError)
    assert str(refused.value).startswith(f"model.target._target_={name}: ")
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({"_target_": "their_target_modelz.f"}, "no module their_target_modelz"),
        ({"_target_": "their_target_models"}, "this is a module; expected a function in it, as their_target_models."),
        ({"_target_": "my model.f"}, "expected a dotted name, as my_module.my_function"),
        ({"_target_": ".f"}, "expected a dotted name"),
        ({"_target_": 3}, "expected a dotted name"),
        ({"_target_": "Adam"}, "expected a dotted name, as my_module.Adam"),
        ({"_target_": "tf.keras.optimizers.Adam"}, "Keras 2 is tf_keras here: tf_keras.optimizers.Adam"),
    ],
)
def test_a_package_that_is_nowhere_is_said_without_importing_anything(folder, target, message):
    with pytest.raises(ConfigError, match=r"model\.target\._target_=") as refused:
        check_module("model.target", target)
    assert message in str(refused.value)
    check_module("model.target", {"_target_": "broken_target_models.f"})


@pytest.mark.parametrize(
    ("entries", "arguments", "message"),
    [
        (
            {"wid": 8},
            {"input_shape": (4,), "classes": 2},
            "called with wid, input_shape, classes: got an unexpected keyword argument 'wid'. "
            "It is my_model(input_shape, classes, width=8)",
        ),
        ({}, {"input_shape": (4,)}, "missing a required argument: 'classes'"),
    ],
)
def test_wrong_arguments_are_said_with_what_the_function_takes(folder, entries, arguments, message):
    with pytest.raises(ModelError) as refused:
        call("model.target", {"_target_": "their_target_models.my_model", **entries}, ModelError, **arguments)
    assert message in str(refused.value)


def test_a_function_is_called_with_its_entries(folder):
    target = {"_target_": "their_target_models.my_model", "width": 3}
    assert call("model.target", target, input_shape=(4,), classes=2) == ((4,), 2, 3)


@pytest.mark.parametrize("target", ["EarlyStopping", {}, {"patience": 3}, None, 3])
def test_what_names_nothing_is_no_target(target):
    with pytest.raises(ConfigError, match=r"train\.callbacks\[0\]=.*: expected what to call, as \{_target_: my_mod"):
        check_module("train.callbacks[0]", target)


def test_an_error_of_their_own_is_told_with_the_line_that_raised_it(folder):
    with pytest.raises(ConfigError, match=r"failing failed: KeyError: 'mine' \(.*their_target_models\.py, line 5\)"):
        call("model.target", {"_target_": "their_target_models.failing"}, input_shape=(4,), classes=2)
    (folder / "raising_target_models.py").write_text(
        "import json\n\n\ndef own():\n    raise KeyError('depth')\n\n\ndef deep():\n    return json.loads('{')\n"
    )
    for name, said in (("own", "KeyError: 'depth'"), ("deep", "JSONDecodeError: Expecting property name")):
        with pytest.raises(
            ModelError, match=rf"raising_target_models\.{name} failed: {said}.*raising_target_models.py, l"
        ):
            call("model.target", {"_target_": f"raising_target_models.{name}"}, ModelError)


def test_what_cannot_be_called_is_refused(folder):
    with pytest.raises(ConfigError, match=r"os\.sep: this is a str; expected a function or a class"):
        resolve("model.target", {"_target_": "os.sep"})
