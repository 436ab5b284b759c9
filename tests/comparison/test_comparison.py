"""Means over seeds, pairs, fronts, filters and order, against numbers known beforehand."""

import pytest
from scipy import stats

from qat.comparison import collect, compare_runs
from qat.errors import ConfigError


@pytest.fixture
def sweep(tmp_path, write_run):
    """Two learning rates, three seeds each; QAT beats PTQ by about 0.6 and 0.1 points."""
    for rate, gain in ((1e-4, 0.006), (1e-3, 0.001)):
        for seed in range(3):
            ptq = 0.95 + 0.001 * seed
            folder = tmp_path / f"{rate}" / f"{seed}"
            write_run(folder, seed=seed, ptq=ptq, qat=ptq + gain + 0.0002 * seed, config={"quant.learning_rate": rate})
    return tmp_path


def compared(folder, **options):
    return compare_runs(collect([folder]), **options)


def configuration_of(comparison, variant, word=""):
    return next(each for each in comparison.configurations if each.variant == variant and word in each.label)


def test_a_configuration_is_the_runs_that_differ_in_their_seed_alone(sweep):
    result = compared(sweep)
    assert result.swept == ("quant.learning_rate",)
    assert len(result.rows) == 18
    assert len(result.configurations) == 5  # the float models are shared
    ptq = configuration_of(result, "ptq_int8", "0.001")
    assert (ptq.label, ptq.seeds) == ("quant.learning_rate=0.001", 3)
    assert ptq.value.mean == pytest.approx(0.951)
    half = stats.t.ppf(0.975, 2) * stats.sem([0.95, 0.951, 0.952])
    assert ptq.value.half_width == pytest.approx(half)
    assert ptq.drop.mean == pytest.approx(0.029)


def test_a_float_model_that_jobs_share_is_one_configuration(sweep):
    (reference,) = [each for each in compared(sweep).configurations if each.variant == "float"]
    assert (reference.label, reference.seeds, len(reference.rows)) == ("any quant.learning_rate", 3, 6)
    assert not any("several runs of one seed" in note for note in compared(sweep).notes)


def test_float_models_of_other_data_or_other_files_stay_apart(tmp_path, write_run):
    write_run(tmp_path / "a", config={"data.max_samples": 10, "train.epochs": 2})
    write_run(tmp_path / "b", config={"data.max_samples": 20, "train.epochs": 2})
    write_run(tmp_path / "c", config={"data.max_samples": 20, "train.epochs": 3}, sha256={"float/model.tflite": "c"})
    assert sum(each.variant == "float" for each in compared(tmp_path).configurations) == 3


def test_a_label_names_what_is_set_and_not_what_is_null(tmp_path, write_run):
    write_run(tmp_path / "a", config={"model.name": "resnet8", "float_run": None, "quant.sensitivity": False})
    write_run(tmp_path / "b", config={"model.name": "resnet8", "float_run": "x", "quant.sensitivity": True})
    write_run(tmp_path / "c", config={"model.name": "ds_cnn", "float_run": None, "quant.sensitivity": True})
    labels = {each.label for each in compared(tmp_path).configurations if each.variant == "qat_int8"}
    assert labels == {"model=resnet8", "model=resnet8 float_run=x", "model=ds_cnn"}


def test_a_label_of_nulls_alone_names_them(tmp_path, write_run):
    for folder, samples in (("a", None), ("b", 5)):
        write_run(tmp_path / folder, config={"data.max_samples": samples})
    labels = {each.label for each in compared(tmp_path).configurations}
    assert labels == {"data.max_samples=null", "data.max_samples=5"}


def test_what_is_written_or_how_fast_makes_no_configuration(tmp_path, write_run):
    for seed, folder in enumerate("ab"):
        write_run(
            tmp_path / folder, seed=seed, config={"log.deployed_every": seed, "float_cache": folder, "threads": seed}
        )
    assert compared(tmp_path).swept == ()
    assert configuration_of(compared(tmp_path), "qat_int8").seeds == 2


def test_stock_in_addition_makes_no_configuration_of_ours(tmp_path, write_run):
    write_run(tmp_path / "a", seed=0, config={"quant.beside": []})
    write_run(tmp_path / "b", seed=1, config={"quant.beside": ["qat_tfmot"]})
    assert configuration_of(compared(tmp_path), "qat_int8").seeds == 2


def test_why_a_variant_was_left_out_is_noted_once_with_the_number_of_runs(tmp_path, write_run):
    for seed in range(3):
        write_run(tmp_path / f"{seed}", seed=seed, left_out={"qat_tfmot_int8": "tfmot refuses"} if seed else {})
    assert "left out of 2 of 3 runs: qat_tfmot_int8: tfmot refuses" in compared(tmp_path).notes


@pytest.mark.parametrize("odd", [None, 3, [], "text", {"a": {"b": [1]}}, {str(n): "x" * 9999 for n in range(99)}])
def test_an_odd_left_out_is_no_reason_to_refuse_a_run(odd, tmp_path, write_run):
    write_run(tmp_path / "a", left_out=odd)
    result = compared(tmp_path)
    assert len(result.runs) == 1
    assert sum(map(len, result.notes)) < 10_000


def test_a_seed_that_is_run_twice_is_one_sample(tmp_path, write_run):
    for folder, seed, ptq in (("a", 0, 0.90), ("b", 0, 0.94), ("c", 1, 0.96)):
        write_run(tmp_path / folder, seed=seed, ptq=ptq)
    result = compared(tmp_path)
    assert configuration_of(result, "ptq_int8").seeds == 2
    assert configuration_of(result, "ptq_int8").value.mean == pytest.approx((0.92 + 0.96) / 2)
    assert any("hold several runs of one seed" in note for note in result.notes)


def test_qat_and_ptq_are_paired_within_each_run(sweep):
    tests = {test.label: test for test in compared(sweep).tests}
    strong = tests["quant.learning_rate=0.0001"]
    differences = [0.006, 0.0062, 0.0064]
    assert strong.pairs == 3
    assert strong.result.difference.mean == pytest.approx(0.0062)
    assert strong.result.p_t == pytest.approx(stats.ttest_1samp(differences, 0).pvalue, rel=1e-6)
    assert strong.result.p_signs == 0.25
    weak = tests["quant.learning_rate=0.001"].result.p_t
    assert strong.p_holm == pytest.approx(2 * strong.result.p_t)
    assert tests["quant.learning_rate=0.001"].p_holm == pytest.approx(max(weak, strong.p_holm))
    assert strong.verdict == "QAT is better"


def test_ptq_of_another_run_is_a_partner_where_the_float_model_is_the_same_file(tmp_path, write_run):
    for seed in range(2):
        write_run(tmp_path / f"ptq{seed}", seed=seed, ptq=0.95, qat=None, config={"quant.name": "ptq"})
        write_run(tmp_path / f"qat{seed}", seed=seed, ptq=None, qat=0.96 + 0.01 * seed)
    write_run(tmp_path / "lonely", seed=7, ptq=None, qat=0.99)
    (test,) = compared(tmp_path).tests
    assert (test.pairs, test.unpaired) == (2, 1)
    assert test.result.difference.mean == pytest.approx(0.015)


def test_one_pair_allows_no_test(tmp_path, write_run):
    write_run(tmp_path / "only")
    (test,) = compared(tmp_path).tests
    assert test.verdict == "one pair: no test is possible"
    assert test.result.difference.half_width is None


def test_data_sets_and_metrics_are_not_compared_with_one_another(tmp_path, write_run):
    write_run(tmp_path / "a", ptq=0.5, qat=None, config={"data.name": "hard"})
    write_run(tmp_path / "b", ptq=0.9, qat=None)
    result = compared(tmp_path)
    assert {each.task for each in result.configurations} == {"hard, accuracy", "digits, accuracy"}
    assert [each.task for each in result.configurations if each.variant == "ptq_int8" and each.on_size_front] == [
        "digits, accuracy",
        "hard, accuracy",
    ]


def test_the_front_holds_what_no_other_beats_in_both(tmp_path, write_run):
    write_run(tmp_path / "a", floating=0.98, ptq=0.97, qat=0.96, latency=2.0)
    fronts = {each.variant: (each.on_size_front, each.on_latency_front) for each in compared(tmp_path).configurations}
    assert fronts == {"float": (True, True), "ptq_int8": (True, False), "qat_int8": (False, False)}


@pytest.mark.parametrize(
    ("conditions", "rows"),
    [
        (["variant=qat_int8"], 6),
        (["variant!=float", "quant.learning_rate=1e-3"], 6),
        (["accuracy>=0.957"], 8),
        (["size<50000", "seed=0"], 4),
        (["run~^0.001/"], 9),
        (["latency_ms<5"], 0),
        (["latency_ms!=5"], 18),
        (["integer_only=true"], 12),
    ],
)
def test_filters_keep_the_rows_for_which_all_hold(conditions, rows, sweep):
    result = compared(sweep, filters=conditions)
    assert len(result.rows) == rows
    assert len(compared(sweep).runs) == 6


def test_a_filter_on_qat_still_finds_its_ptq(sweep):
    assert [test.pairs for test in compared(sweep, filters=["variant=qat_int8"]).tests] == [3, 3]


def test_order_by_columns_and_what_has_no_value_last(sweep):
    rows = compared(sweep, sort=["variant", "-seed"]).rows
    assert [(row.variant, row.run.seed) for row in rows[:3]] == [("float", 2), ("float", 2), ("float", 1)]
    assert [row.variant for row in compared(sweep, sort=["drop"]).rows][-1] == "float"
    assert [each.variant for each in compared(sweep, sort=["-drop"]).configurations][:2] == ["ptq_int8", "ptq_int8"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"filters": ["colour=red"]}, r"filter=colour: no such column\. Columns are run, variant, seed, metric"),
        ({"filters": ["variant"]}, r"filter=variant: expected COLUMN=VALUE"),
        ({"filters": ["size_bytes<small"]}, "expected a number after the sign, got 'small'"),
        (
            {"filters": ["size_bytes<30 or variant=float"]},
            'conditions are joined by "and" alone. One of',
        ),
        ({"filters": ["run~["]}, r"'\[' is no regular expression"),
        ({"sort": ["-colour"]}, "sort=colour: no such column"),
    ],
)
def test_what_no_run_knows_is_refused(options, message, sweep):
    with pytest.raises(ConfigError, match=message):
        compared(sweep, **options)


def test_an_option_that_brings_settings_along_is_named_once(tmp_path, write_run):
    for name, rate in (("ptq", 1.0), ("qat", 2.0)):
        write_run(tmp_path / name, config={"quant.name": name, "quant.learning_rate": rate})
    result = compared(tmp_path)
    assert result.swept == ("quant.name", "quant.learning_rate")
    assert {each.label for each in result.configurations} == {"quant=ptq", "quant=qat", "any quant"}


def test_different_versions_and_machines_are_said(tmp_path, write_run):
    write_run(tmp_path / "a", latency=1.0, machine="arm, 4 cores")
    write_run(tmp_path / "b", latency=1.0, machine="x86_64, 2 cores", versions={"tensorflow": "2.20.0"}, seed=1)
    notes = " ".join(compared(tmp_path).notes)
    assert "different tensorflow: 2.21.0, 2.20.0" in notes
    assert "not comparable: arm, 4 cores, x86_64, 2 cores" in notes
