"""Every setting x every kind of wrong value is refused by its key, exit code 2, no traceback; valid ones pass."""

import math
from contextlib import suppress
from operator import attrgetter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qat.errors import ConfigError, QatError
from qat.setting import settings_of
from tests.cli.wrong_values import COMMANDS, answer, composed, fields, is_optional, main_type, wrong_values

QUICK = settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
TRAIN = dict(fields("train"))
# what is refused or means nothing without another setting, a file or an installation
DEPENDENT = {"quant.weight_bits", "quant.allow_float", "log.mlflow", "train.strategy", "quant.name", "train.epochs"}
DEPENDENT |= {"data.channels", "quant.calibration.samples", "quant.calibration.min_samples", "quant.calibration.engine"}


@pytest.fixture(scope="module")
def nodes():
    return {command: composed(command) for command in COMMANDS}


@pytest.mark.medium
@pytest.mark.parametrize("command", COMMANDS)
def test_each_wrong_value_is_refused_by_its_key(command, nodes):
    tried, wrong = 0, []
    for key, kind in fields(command):
        for value in wrong_values(command, key, kind):
            tried += 1
            try:
                answer(nodes[command], command, f"{key}={value}")
            except QatError as error:
                if error.exit_code != 2 or key.rpartition(".")[2] not in str(error):
                    wrong.append(f"{key}={value}: {error}")
            else:
                wrong.append(f"{key}={value} is accepted")
    assert wrong == []
    assert tried >= {"train": 350}.get(command, 8)


def numbers_outside(limits, is_integer):
    """Numbers that a field does not take."""
    found = [] if is_integer else [st.sampled_from([math.nan, math.inf, -math.inf])]
    make = st.integers if is_integer else st.floats
    if math.isfinite(limits.low) or math.isfinite(limits.above):
        end = max(limits.low, limits.above)
        found.append(make(max_value=int(end) - 1 if is_integer else end - 1e-3))
    if math.isfinite(limits.high) or math.isfinite(limits.below):
        end = min(limits.high, limits.below)
        found.append(make(min_value=int(end) + 1 if is_integer else end + 1e-3))
    return st.one_of(found) if found else None


def numbers_inside(limits, is_integer):
    low = max(limits.low, limits.above)
    high = min(limits.high, limits.below)
    if is_integer:
        return st.integers(int(low) if math.isfinite(low) else None, int(high) if math.isfinite(high) else None)
    return st.floats(
        low if math.isfinite(low) else None,
        high if math.isfinite(high) else None,
        exclude_min=math.isfinite(limits.above),
        exclude_max=math.isfinite(limits.below),
        allow_nan=False,
        allow_infinity=False,
        allow_subnormal=False,
    )


@st.composite
def invalid_overrides(draw):
    key = draw(st.sampled_from([key for key, kind in TRAIN.items() if main_type(kind) in (int, float)]))
    kind = main_type(TRAIN[key])
    numbers = numbers_outside(settings_of(COMMANDS["train"][0])[key], kind is int)
    if numbers is None:
        return f"{key}={draw(st.sampled_from(['word', '[]', '1.5.2', 'true']))}"
    return f"{key}={draw(numbers)!r}"


@st.composite
def valid_overrides(draw):
    keys = [key for key, kind in TRAIN.items() if main_type(kind) in (int, float, bool) and key not in DEPENDENT]
    key = draw(st.sampled_from([key for key in keys if not key.startswith("limits.")]))  # which check themselves
    kind, limits = main_type(TRAIN[key]), settings_of(COMMANDS["train"][0])[key]
    if is_optional(TRAIN[key]) and draw(st.booleans()):
        return key, None
    return key, draw(st.booleans() if kind is bool else numbers_inside(limits, kind is int))


@pytest.mark.medium
@QUICK
@given(override=invalid_overrides())
def test_numbers_outside_of_their_limits_are_refused_by_key(override, nodes):
    with pytest.raises(ConfigError) as refused:
        answer(nodes["train"], "train", override)
    assert refused.value.exit_code == 2
    assert override.partition("=")[0] in str(refused.value)


@QUICK
@given(drawn=valid_overrides())
def test_what_the_schema_accepts_composes_and_is_what_the_job_reads(drawn, nodes):
    key, value = drawn
    written = "null" if value is None else repr(value).lower() if isinstance(value, bool) else repr(value)
    config = answer(nodes["train"], "train", f"{key}={written}")
    assert attrgetter(key)(config) == value


TEXTS = st.one_of(
    st.text(st.characters(codec="ascii"), max_size=12),
    st.sampled_from(
        ["null", "[]", "{}", "[null]", "{a: [1, {b: 2}]}", "${seed}", "???", "1e999", "0x10", "-0", "'\\0'"]
    ),
)


@QUICK
@given(key=st.sampled_from(sorted(TRAIN)), value=TEXTS)
def test_whatever_is_typed_is_taken_or_refused_and_no_traceback(key, value, nodes):
    with suppress(QatError):  # exit code 2
        answer(nodes["train"], "train", f"{key}={value}")
