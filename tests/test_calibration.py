"""Calibration samples: every accepted form gives the same batches, every unusable one is refused by name."""

import itertools
import warnings

import numpy as np
import pytest

from qat import calibration_data
from qat.calibration_data import InputSpec, as_batches
from qat.errors import CalibrationError

IMAGE = [InputSpec("image", (4, 4, 1), "float32")]
PAIR = [InputSpec("left", (3,), "float32"), InputSpec("ids", (2,), "int32")]
ARRAY = np.random.default_rng(0).random((130, 4, 4, 1)).astype(np.float32)
LEFT = np.random.default_rng(1).random((130, 3)).astype(np.float32)
IDS = np.random.default_rng(2).integers(0, 9, (130, 2)).astype(np.int32)


def sample_count(batches):
    return sum(len(batch[0]) for batch in batches)


def joined(batches, index=0):
    return np.concatenate([batch[index] for batch in batches])


@pytest.mark.parametrize(
    "samples",
    [
        ARRAY,
        [ARRAY],
        {"image": ARRAY},
        (ARRAY[i : i + 50] for i in range(0, 130, 50)),
        [[ARRAY[:60]], [ARRAY[60:]]],
        [{"image": ARRAY[:60]}, {"image": ARRAY[60:]}],
        [ARRAY[:60], ARRAY[60:]],
        lambda: iter([[ARRAY]]),
        list(ARRAY),
        (row for row in ARRAY),
        [[row] for row in ARRAY],
        ARRAY.tolist(),
        [ARRAY[:60].tolist(), ARRAY[60:].tolist()],
    ],
    ids=[
        "array",
        "list",
        "dict",
        "generator",
        "batches of lists",
        "batches of dicts",
        "batches",
        "callable",
        "samples",
        "generator of samples",
        "samples in lists",
        "numbers",
        "batches of numbers",
    ],
)
def test_every_form_for_one_input_gives_the_same_samples(samples):
    batches = as_batches(samples, IMAGE)
    np.testing.assert_array_equal(joined(batches), ARRAY)
    assert max(len(batch[0]) for batch in batches) <= 32
    assert sample_count(batches) == 130


@pytest.mark.parametrize(
    "samples",
    [
        [LEFT, IDS],
        (LEFT, IDS),
        {"ids": IDS, "left": LEFT},
        [[LEFT[:60], IDS[:60]], (LEFT[60:], IDS[60:])],
        iter([{"left": LEFT, "ids": IDS}]),
        [{"left": left, "ids": ids} for left, ids in zip(LEFT, IDS, strict=True)],
        zip(LEFT, IDS, strict=True),
    ],
    ids=["list", "tuple", "dict", "batches", "iterator of dicts", "dicts of a sample", "pairs of samples"],
)
def test_every_form_for_two_inputs_gives_the_same_samples(samples):
    batches = as_batches(samples, PAIR)
    np.testing.assert_array_equal(joined(batches, 0), LEFT)
    np.testing.assert_array_equal(joined(batches, 1), IDS)


def test_a_tf_data_set_is_an_iterable_of_batches():
    import tensorflow as tf

    samples = tf.data.Dataset.from_tensor_slices(ARRAY).batch(40)
    np.testing.assert_array_equal(joined(as_batches(samples, IMAGE)), ARRAY)


def test_other_number_types_become_the_inputs_own():
    batches = as_batches(np.arange(130 * 16, dtype=np.int64).reshape(130, 4, 4, 1), IMAGE)
    assert {batch[0].dtype for batch in batches} == {np.dtype("float32")}


def test_a_mask_is_taken_as_one():
    batches = as_batches(ARRAY > 0, [InputSpec("seen", (4, 4, 1), "bool")])
    assert {batch[0].dtype for batch in batches} == {np.dtype(bool)}


def test_an_open_size_takes_any():
    batches = as_batches([ARRAY[:50, :2], ARRAY[50:]], [InputSpec("image", (None, 4, 1), "float32")])
    assert {batch[0].shape[1] for batch in batches} == {2, 4}


def with_value(value):
    spoiled = ARRAY.copy()
    spoiled[7, 0, 0, 0] = value
    return spoiled


@pytest.mark.parametrize(
    ("samples", "specs", "message"),
    [
        (None, IMAGE, "calibration is None"),
        ([], IMAGE, "no samples"),
        (ARRAY[:0], IMAGE, "no samples"),
        (iter(()), IMAGE, "a generator may be used up"),
        (with_value(np.nan), IMAGE, "1 of 130 samples for 'image' hold NaN or infinity, the first is sample 7"),
        (with_value(np.inf), IMAGE, "NaN or infinity"),
        (ARRAY[0], IMAGE, r"This looks like one sample: add the batch axis, calibration\[None\]"),
        (ARRAY[None, None], IMAGE, "The first axis counts the samples: 4 axes are expected, not 6"),
        (ARRAY[:, :3], IMAGE, r"shape \[130, 3, 4, 1\], expected 'image' float32\[N, 4, 4, 1\]"),
        (ARRAY.astype(str), IMAGE, "dtype <U"),
        (ARRAY.astype(complex), IMAGE, "dtype complex128"),
        ("images.npy", IMAGE, "calibration is a str"),
        (42, IMAGE, "calibration is a int"),
        ([(ARRAY, np.zeros(130))], IMAGE, r"Is it \(inputs, labels\)\? Give the inputs alone"),
        ((ARRAY, np.zeros(130)), IMAGE, r"two arrays, \[130, 4, 4, 1\] and \[130\].*Give the inputs alone"),
        ([ARRAY, np.zeros((130, 3))], IMAGE, r"Are they \(inputs, labels\)\? Give the inputs alone"),
        ((LEFT, np.zeros(130)), [InputSpec("open", (None,), "float32")], r"Are they \(inputs, labels\)"),
        ([ARRAY[0], ARRAY[:2]], IMAGE, r"shape \[1, 2, 4, 4, 1\], expected"),
        ({"picture": ARRAY}, IMAGE, r"inputs missing \['image'\], unknown \['picture'\]"),
        (LEFT, PAIR, "one array, but the model has 2 inputs"),
        ([LEFT, IDS, IDS], PAIR, "one array, but the model has 2 inputs"),
        ([LEFT, IDS[:9]], PAIR, "different numbers of samples: {'left': 130, 'ids': 9}"),
        ([LEFT, IDS + 0.5], PAIR, "holds fractions, but the input takes integers"),
    ],
)
def test_an_unusable_set_is_refused_by_name(samples, specs, message):
    with pytest.raises(CalibrationError, match=message):
        as_batches(samples, specs)


def test_equal_samples_are_told():
    with pytest.warns(UserWarning, match="all 130 samples are equal"):
        as_batches(np.zeros((130, 4, 4, 1), np.float32), IMAGE)
    as_batches([ARRAY, np.ones((130, 2))], [*IMAGE, InputSpec("mask", (2,), "float32")])  # no warning


def test_a_path_is_no_calibration():
    with pytest.raises(CalibrationError, match=r"numpy.load\('x.npy'\)"):
        as_batches("x.npy", IMAGE)


def test_a_small_set_is_taken_with_a_warning():
    with pytest.warns(UserWarning, match="calibration has 5 samples; below 100"):
        assert sample_count(as_batches(ARRAY[:5], IMAGE)) == 5


def test_samples_of_an_iterator_are_counted_as_samples(monkeypatch):
    monkeypatch.setattr(calibration_data, "MOST_SAMPLES", 200)
    assert sample_count(as_batches((row for row in ARRAY), IMAGE)) == 130  # 130 of 4 rows each


def endlessly(batch):
    while True:
        yield batch


ENDLESS = {
    "generator": lambda: endlessly(ARRAY),
    "of single samples": lambda: endlessly(ARRAY[:1]),
    "of empty batches": lambda: endlessly(ARRAY[:0]),
    "callable": lambda: lambda: endlessly(ARRAY),
    "repeat": lambda: itertools.repeat({"image": ARRAY}),
}


@pytest.mark.parametrize("make", ENDLESS.values(), ids=ENDLESS)
def test_an_iterable_without_an_end_is_stopped_and_said(make, monkeypatch):
    monkeypatch.setattr(calibration_data, "MOST_SAMPLES", 5_000)
    with pytest.raises(CalibrationError, match=r"has not ended after .*itertools\.islice\(batches, 32\)"):
        as_batches(make(), IMAGE)


def test_large_batches_are_stopped_by_what_they_hold(monkeypatch):
    monkeypatch.setattr(calibration_data, "MOST_BYTES", 50 * ARRAY.nbytes)
    with pytest.raises(CalibrationError, match="has not ended after 50 batches"):
        as_batches(endlessly(ARRAY), IMAGE)


def test_a_long_iterable_that_says_its_length_is_taken_whole(monkeypatch):
    monkeypatch.setattr(calibration_data, "MOST_SAMPLES", 100)
    assert sample_count(as_batches([[ARRAY], [ARRAY]], IMAGE)) == 260


def test_the_first_batches_of_an_endless_iterable_are_taken_as_the_message_says():
    batches = endlessly(ARRAY[:10])
    taken = eval("itertools.islice(batches, 32)", {"itertools": itertools, "batches": batches})
    assert sample_count(as_batches(taken, IMAGE)) == 320


class Epochs:
    """As Keras' iterators are: a length of one epoch, and no end."""

    def __len__(self):
        return 13

    def __iter__(self):
        return endlessly(ARRAY[:10])


def test_of_an_endless_iterator_with_a_length_one_epoch_is_taken():
    assert sample_count(as_batches(Epochs(), IMAGE)) == 130


def test_a_repeated_tf_data_set_is_refused_at_once_and_its_beginning_taken_as_the_message_says():
    import tensorflow as tf

    dataset = tf.data.Dataset.from_tensor_slices(ARRAY).repeat().batch(10)
    with pytest.raises(CalibrationError, match=r"repeats for ever.*dataset\.take\(32\)"):
        as_batches(dataset, IMAGE)
    assert sample_count(as_batches(eval("dataset.take(32)", {"dataset": dataset}), IMAGE)) == 320


def test_a_tf_data_set_of_unknown_length_is_taken_to_its_end():
    import tensorflow as tf

    dataset = tf.data.Dataset.from_generator(
        lambda: iter([ARRAY[:60], ARRAY[60:]]), output_signature=tf.TensorSpec([None, 4, 4, 1])
    )
    assert sample_count(as_batches(dataset, IMAGE)) == 130


PIXELS = np.random.default_rng(0).integers(0, 256, (130, 4, 4, 1))


@pytest.mark.parametrize("rows", [PIXELS.astype(np.uint8), PIXELS], ids=["uint8", "int64"])
@pytest.mark.parametrize("form", [lambda rows: rows, lambda rows: (rows[i : i + 50] for i in range(0, 130, 50))])
def test_pixels_that_a_kernel_would_multiply_as_they_come_are_warned_of(rows, form):
    with pytest.warns(
        UserWarning, match=rf"'image' holds {rows.dtype} from 0 to 255, and the input is float32: .*'conv'"
    ):
        as_batches(form(rows), IMAGE, unscaled_inputs={0: "conv"})


@pytest.mark.parametrize(
    ("rows", "multiplied"),
    [
        (PIXELS.astype(np.uint8), {}),  # the model scales them itself, or looks them up
        (PIXELS.astype(np.float32), {0: "conv"}),  # said to be meant
        ((PIXELS > 127).astype(np.uint8), {0: "conv"}),
    ],
    ids=["scaled inside", "real numbers", "0 and 1"],
)
def test_rows_that_are_meant_as_they_are_pass_in_silence(rows, multiplied):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        as_batches(rows, IMAGE, unscaled_inputs=multiplied)
