"""Mistakes of a first hour and what is answered, each read: the key, what was expected, what to write instead.

In this process and without TensorFlow: the command line is understood, then composed, as a command does it.
"""

import numpy as np
import pytest
from hydra.errors import MissingConfigException

from qat import data
from qat.cli.command_line import normalize_arguments
from qat.cli.compose import compose
from qat.cli.explain import explain
from qat.cli.groups import expand_path_argument
from qat.cli.sweeps.requested_jobs import list_requested_jobs, parse_arguments, put_flags_first
from qat.config import BenchmarkConfig, CompareConfig, Config, DiagnoseConfig, EvaluateConfig, VerifyConfig
from qat.errors import QatError

SCHEMAS = {
    "train": Config,
    "evaluate": EvaluateConfig,
    "verify": VerifyConfig,
    "diagnose": DiagnoseConfig,
    "benchmark": BenchmarkConfig,
}


def configs(line, command="train"):
    """What each job that `line` asks for would run with."""
    taken = ("model", "data") if command == "train" else ("data",) if command == "evaluate" else ()
    argv = normalize_arguments(
        [part for each in line for part in expand_path_argument(each, taken)], command, SCHEMAS[command]
    )
    jobs = list_requested_jobs(parse_arguments(put_flags_first(argv)), command, SCHEMAS[command])
    return [compose(job, primary=command, schema=SCHEMAS[command]) for job in jobs]


def answer(line, command="train"):
    with pytest.raises(QatError) as refused:
        configs(line, command)
    assert refused.value.exit_code == 2
    return str(refused.value)


FLAGS = [
    ("--epochs 3", "--epochs 3: options are written without dashes, as key=value: train.epochs=3 or quant.epochs=3"),
    ("--epochs=3", "train.epochs=3 or quant.epochs=3"),
    ("--lr 1e-3", "train.learning_rate=1e-3 or quant.learning_rate=1e-3"),
    ("--batch-size 8", "train.batch_size=8 or quant.batch_size=8"),
    ("--quant qat", "--quant qat: options are written without dashes, as key=value: quant=qat"),
    ("--model resnet8", "as key=value: model=resnet8"),
    ("-x 3", "-x 3: no such flag. Options are written without dashes, as key=value; --help lists the keys."),
    ("-e 3", "-e 3: options are written without dashes, as key=value: train.epochs=3 or quant.epochs=3"),
    ("--num_epochs 3", "as key=value: train.epochs=3 or quant.epochs=3"),
    ("--output_dir x", "as key=value: hydra.run.dir=x"),
    ("-o x", "as key=value: hydra.run.dir=x"),
    ("--dataset cifar10", "as key=value: data=cifar10"),
    ("--arch=resnet8", "as key=value: model=resnet8"),
    ("--checkpoint best.h5", "as key=value: model=best.h5"),
    ("--imgsz 96", "as key=value: data.image_size=96"),
    ("--num-workers 4", "as key=value: train.threads=4 or threads=4"),
    ("--patience 3", "as key=value: train.early_stop_epochs=3"),
    ("--sweep quantizers", "as key=value: +sweep=quantizers"),
    ("--gpu 0", "--gpu 0: no such flag. Write CUDA_VISIBLE_DEVICES=0 before the command"),
    (
        "--config mine.yaml",
        "--config mine.yaml: no such flag. Write --config-dir DIR experiment=mine, for the file DIR/",
    ),
    ("--num-classes 10", "--num-classes 10: no such option; their number is read from the labels."),
    ("--cfg", "--cfg: expected one of job, hydra, all behind it."),
    ("--cfg yaml", "--cfg yaml: expected one of job, hydra, all."),
    ("--config-dir", "--config-dir: expected a value behind it."),
    ("--multirun=seed=0,1", "--multirun stands alone, without a value; seed=0,1 follows behind a space."),
    ("seed=0,quant=qat", "several options in one word; written apart: seed=0 quant=qat"),
    ("quant=qat;quant.epochs=3", "several options in one word; written apart: quant=qat quant.epochs=3"),
    ("data.range=[-1, 1]", "data.range=[-1, 1]: written without spaces: data.range=[-1,1]"),
    ("quant.per_layer={conv: {weight_bits: 4}}", "written without spaces: quant.per_layer={conv:{weight_bits:4}}"),
    ("data.path=my file.npz", "If it belongs to what stands before it, quote both: 'data.path=my file.npz'"),
    ("+train.epochs=3", "+train.epochs=3: written without a plus: train.epochs=3"),
    ("~seed", "~seed: a setting cannot be left out. Give it another value, as seed=…"),
    ("~foo", "~foo: nothing of that name can be left out; expected one of ~data, ~debug,"),
    ("trainer.max_epochs=3", "trainer: no such key. Did you mean train.epochs or quant.epochs?"),
    ("a=b=c", "a: no such key. Keys of the config: seed, data, model,"),
    ("--multi-run seed=0,1", "--multi-run: no such flag. Did you mean --multirun?"),
    ("quant = qat", "quant = qat: written without spaces: quant=qat"),
    ("quant= qat", "quant= qat: written without spaces: quant=qat"),
    ("quant =qat", "quant =qat: written without spaces: quant=qat"),
    ("help", "help: the options are listed by --help"),
    ("my.keras", "my.keras: expected key=value. Did you mean model=my.keras? --help lists the keys."),
    ("my.h5", "my.h5: expected key=value. Did you mean model=my.h5?"),
    ("my.npz", "my.npz: expected key=value. Did you mean data=my.npz?"),
    ("my.tflite", "my.tflite: expected key=value. A .tflite is read by qat verify, qat evaluate, qat diagnose and"),
    ("train", "train: the command is named already. Options follow it, as key=value; --help lists them."),
    ("--verbose", "--verbose: no such flag. Write log.progress=plain, for a line per unit of work"),
    ("--verbose 0", "as key=value: log.progress=off"),
    ("--quiet", "as key=value: log.progress=off"),
    ("qat", "qat: expected key=value. Did you mean quant=qat? --help lists the keys."),
    ("seed", "seed: expected key=value. Did you mean seed=…?"),
    (
        "train.epochs=3,",
        "train.epochs=3,: the comma at the end would make it a list of values, each for a job of a sweep. Wit",
    ),
    ("train.epochs=3,", "Without it: train.epochs=3"),
    ("quant.learning_rate=1e-3,", "Without it: quant.learning_rate=1e-3"),
    ("quant=qat,", "Without it: quant=qat"),
    ("quant.delay=0.2,", "Without it: quant.delay=0.2"),
    ("-m seed=0,1,", "Without it: seed=0,1"),
    ("-m seed=0,,1", "the comma without a value next to it would make it a list"),
    ("quant.skip=conv,", "Without it: quant.skip=conv"),
    ("data.image_size=[96,96,]", "the comma at the end is one too many. Without it: data.image_size=[96,96]"),
    ("train.learning_rate=1e-3;", "train.learning_rate=1e-3;: expected a number (the first;"),
    ("data.range=[0;255]", "data.range=[0;255]: expected a list of numbers, as [-1, 1], or null"),
    ("train:epochs=3", "train:epochs=3: written with a point: train.epochs=3"),
    ("quant=QAT", "quant=QAT: no such option. Did you mean quant=qat?"),
    ("data=CIFAR10", "Did you mean data=cifar10?"),
    (
        "seed=[0,1,2]",
        "expected an integer (random numbers of weights, order of samples, dropout, and the draw of cal",
    ),
    ("-m seed=[0,1,2]", "A job for each value: -m seed=0,1,2"),
    ("-m seed=0-3", "A job for each value: -m seed=range(0,4)"),
    ("-m quant=ptq, qat", "quant=ptq, qat: written without spaces: quant=ptq,qat"),
    ("-m quant=ptq;qat", "several values have commas between: quant=ptq,qat"),
    ("-m n_trials=3", "n_trials: no such key. Did you mean hydra.sweeper.n_trials=3?"),
    ("quant.activation_bits=16", "Did you mean quant=ptq_int16x8, for activations of 16 bits?"),
    ("quant=static", "Did you mean quant=ptq or quant=qat"),
    ("hydra/launcher=slurm", "hydra/launcher=slurm: no such option."),
    ("hydra/sweeper=bayes", "hydra/sweeper=bayes: no such option."),
    ("nonsense", "nonsense: expected key=value. --help lists the keys."),
    ("-m seed=0,1 --cfg job", "--cfg shows the config of one job: leave out -m, and give each key one value."),
]


def test_a_folder_of_configs_that_is_not_there_is_told_by_its_flag():
    message = explain(MissingConfigException("Primary config directory not found.", None), Config)
    assert message.startswith("--config-path: no such folder; a relative one is not looked for here. A file of")


@pytest.mark.parametrize(
    "flag", ["--config-dir mine", "--config-dir=mine", "-cd mine", "-cp /mine", "--config-path=/mine"]
)
def test_a_group_in_a_folder_of_ones_own_is_taken(flag):
    argv = [*flag.split(), "+mygroup=a"]
    assert normalize_arguments(argv, "train", Config) == argv
    with pytest.raises(QatError, match=r"^mygroup: no such key"):
        normalize_arguments(["+mygroup=a"], "train", Config)


def test_an_option_with_spaces_in_one_word_is_written_without():
    with pytest.raises(QatError, match=r"^train\.epochs = 3: written without spaces: train\.epochs=3$"):
        configs(["train.epochs = 3"])


@pytest.mark.parametrize(("line", "message"), FLAGS, ids=[line for line, _ in FLAGS])
def test_what_is_no_override_is_answered_by_the_one_that_is_meant(line, message):
    assert message in answer(line.split())


@pytest.mark.parametrize(
    ("command", "line", "message"),
    [
        ("verify", "model.tflite", "model.tflite: expected key=value. Did you mean tflite=model.tflite?"),
        ("diagnose", "--keras=x.h5", "--keras=x.h5: options are written without dashes, as key=value: keras=x.h5"),
        ("evaluate", "tflite=x.tflite debug=tiny", "debug"),
        ("benchmark", "--threads 2", "as key=value: threads=2"),
        ("verify", "--model_path x.tflite", "as key=value: tflite=x.tflite"),
        ("verify", "edgetpu=true", "edgetpu: no such key. Did you mean readiness=true?"),
        ("benchmark", "iterations=100", "iterations: no such key. Did you mean rounds=100?"),
        ("diagnose", "model=b.keras", "Did you mean keras=b.keras?"),
        ("diagnose", "model=b", "Did you mean keras=b or tflite=b?"),
        ("diagnose", "user_preprocess=a:b", "user_preprocess: no such key. Did you mean user.preprocess?"),
        ("benchmark", "/", "/: expected key=value. Did you mean run=/?"),
        ("evaluate", "model=x.tflite", "model: no such key. Did you mean tflite=x.tflite?"),
        ("evaluate", "model=x.keras", "model: no such key. Did you mean tflite=model.tflite?"),
        ("verify", "x.npz", "x.npz: expected key=value. --help lists the keys."),
        ("verify", "verify", "verify: the command is named already. Options follow it, as key=value"),
        ("diagnose", "x.keras", "x.keras: expected key=value. Did you mean keras=x.keras?"),
        ("diagnose", "date=x.npz", "no such key. Keys of the config: tflite, run, keras, data, preprocess,"),
        ("verify", "--gpu 0", "--gpu 0: no such flag. Options are written without dashes, as key=value; --help lists"),
    ],
)
def test_so_it_is_by_each_command_with_its_own_keys(command, line, message):
    assert message in answer(line.split(), command)


SWEEPS = [
    ("seed=0,1,2", "seed=0,1,2: several values are one job each, and a sweep is asked for by -m:\n  "),
    ("seed=0,1,2", " -m qat.train -m seed=0,1,2"),
    ("quant=ptq,qat", " -m qat.train -m quant=ptq,qat"),
    ("seed=range(3)", "seed=range(3): several values are one job each"),
    ("hydra/sweeper=optuna", "hydra/sweeper=optuna: is for sweeps, and a sweep is asked for by -m:\n  "),
    ("hydra/launcher=joblib seed=1", "hydra/launcher=joblib: is for sweeps"),
    ("export.io=int8,float32", "expected a list, as export.io=[int8,float32]; a job for each value wants -m."),
    ("data.range=0,255", "expected a list, as data.range=[0,255]; a job for each value wants -m."),
    ("data.image_size=32,48", "expected [height, width], as data.image_size=[32,48]; a job for each value wants -m."),
    ("train.optimizer=adam,sgd", "train.optimizer=adam,sgd: expected one optimizer; a job for each value wants -m."),
    ("data.image_size=96,96,3", "expected [height, width], as data.image_size=[96,96]; a job for each value wants -m."),
    ("train.epochs=1,000", "a number has no comma: train.epochs=1000; a job for each value wants -m."),
    ("-m hydra.launcher=joblib seed=0,1", "hydra.launcher=joblib: written with a slash: hydra/launcher=joblib"),
    ("-m hydra.run.dir=a seed=0,1", "hydra.run.dir=a: places one run; the folder of a sweep is hydra.sweep.dir=a"),
    (
        "-m hydra.sweep.subdir=a seed=0,1",
        "hydra.sweep.subdir=a: would be the folder of every job. Leave it out, and each",
    ),
    ("-m seed=range(200) quant.epochs=range(1,101)", "the sweep asks for 20,000 jobs, all values of all keys combined"),
    ("-m hydra.sweep.dir= seed=0,1", "hydra.sweep.dir= expected a folder, as hydra.sweep.dir=runs/first"),
]


@pytest.mark.parametrize(("line", "message"), SWEEPS, ids=[line for line, _ in SWEEPS])
def test_several_values_without_a_sweep_are_answered_by_the_sweep(line, message):
    assert message in answer(line.split())


KEYS = [
    ("lr=1e-3", "lr: no such key. Did you mean train.learning_rate or quant.learning_rate?"),
    ("epochs=3", "epochs: no such key. Did you mean train.epochs or quant.epochs?"),
    ("experiment=foo", "experiment=foo: no such option. Choices of experiment: "),
    ("train.epochs=0", "train.epochs=0: model=mobilenet would keep its random weights."),
    ("train.optimizer=adamm", "train.optimizer=adamm: no such optimizer. Did you mean adam? Choices: adadelta,"),
    ("export.io=float16", "export.io=float16: a float16 file keeps float32 inputs and outputs; use float32."),
    ("export.io=int7", "export.io=int7: expected int8, uint8, float32"),
    (
        "quant.per_layer=4",
        "quant.per_layer=4: expected a section, as {key: value} (regex -> {weight_bits, per_channel, method}).",
    ),
    ("train.epochs={", "train.epochs={: the value cannot be read: a bracket is not closed."),
    ("logger=null", "logger=null: logger is left out by ~logger. Choices of logger: csv, many, mlflow, tensorboard."),
    ("logger=wandb", "logger=wandb: no such option. Choices of logger: csv, many, mlflow, tensorboard."),
    ("--logger csv", "--logger csv: options are written without dashes, as key=value: logger=csv"),
    ("+logger=csv", "+logger=csv: written without a plus: logger=csv, or logger=[tensorboard,csv] to have both"),
    ("+model=resnet8", "+model=resnet8: written without a plus: model=resnet8"),
    (
        "logger.csv=true",
        "logger.csv=true: logger names files of options, and has no keys of its own. Did you mean log.csv=",
    ),
    ("debug=true", "debug=true: expected the name of an option. Choices of debug: tiny."),
    ("model=18", "model=18: expected the name of an option. Choices of model: autoencoder,"),
    ("hydra.run.dir=", "hydra.run.dir= expected a folder, as hydra.run.dir=runs/first"),
    ("data=digits.npz", "data.path=digits.npz: no such file or folder"),
    ("model=net.onnx", "model.path=net.onnx: no such file or folder"),
    ("model=./saved_model", "model.path=./saved_model: no such file or folder"),
    ("data=digits.csv", "data.path=digits.csv: no such file or folder"),
    ("model=EfficientNetB0", "A constructor of keras.applications: model=keras_app model.app=NAME; a file: model="),
    ("data=imagenet", "Files: data=my_data.npz, or data=FOLDER/ with a folder for each class"),
    ("experiment=my/own.yaml", "experiment=my/own.yaml: no such option. Choices of experiment: tiny_footprint. A file"),
    ("logger=[tensorboard,wandb]", "logger=wandb: no such option. Choices of logger: csv, many, mlflow, tensorboard."),
    ("quant=none", "Did you mean quant=float?"),
    ("quant=fp16", "Did you mean quant=ptq_float16?"),
    ("quant=dynamic", "Did you mean quant=ptq_dynamic_range?"),
    ("quant=4bit", "Did you mean quant=qat_w4a8?"),
    ("imgsz=96", "imgsz: no such key. Did you mean data.image_size?"),
    ("train.EPOCHS=3", "train.EPOCHS: no such key. Did you mean train.epochs?"),
    ("quant=full_integer", "Did you mean quant=ptq or quant=qat"),
    ("inference_input_type=int8", "inference_input_type: no such key. Did you mean export.io=int8?"),
    ("--ckpt_path best.keras", "written without dashes, as key=value: model=best.keras"),
    ("representative_dataset=x", "no such key; calibration samples are drawn from the training data; quant.calib"),
    ("data.std=0.5", "data.std=[0.5] without data.mean: each needs the other, one number per channel in both"),
    ("float_run=", "float_run= expected a value behind =; a key that is left out keeps its default."),
    ("hydra.job.name=a/b", "hydra.job.name=a/b: expected a name without /; the folder of a run is hydra.run.dir=FOLD"),
    ("model=saved model.path=pyproject.toml", "model.path=pyproject.toml: neither a .keras nor an .h5 file by its"),
    ("model=saved model.path=tests", "model.path=tests: this folder holds no saved_model.pb, so it is no SavedModel."),
    ("train.callbacks={_target_:a.b}", "train.callbacks={_target_:a.b}: expected a list of values, as [a, b] (extra"),
    ("quant.skip=['']", "quant.skip=['']: expected a text that is not blank."),
    ("seed=${nope}", "seed: its ${…} stands for nothing (Interpolation key 'nope' not found). Expected another key"),
    ("seed=${seed}", "seed: its ${…} stands for nothing (Recursive interpolation detected)."),
    ("data.path=${oc.env:NO_SUCH}", "data.path: its ${…} stands for nothing (KeyError raised while resolving"),
    ("~logger=csv", "~logger=csv: not what is chosen. Choose another option by logger=NAME."),
    (f"data.range=[{'9' * 400},1]", "data.range: expected a number of fewer digits; this one is larger than any that"),
    (f"train.learning_rate={'9' * 400}", "train.learning_rate: expected a number of fewer digits"),
    (f"quant.delay={'9' * 400}", "expected a share of the training from 0 to 1, or as 200steps, or as 3epochs."),
    ("limits.seconds=9999999999", "limits.seconds=9999999999: expected an integer from 1 to 1073741824"),
    ("quant.delay=1.0", "quant.delay=1.0: the training ends before, after 5 epochs; choose an earlier point, or null"),
]


KEYS += [  # a value of another kind, told with an example of its own and with what the key means
    ("data.image_size=abc", "expected a list of integers, as [96, 96], or null ([height, width]; null keeps the"),
    ("data.image_size=32x48", "data.image_size=32x48: expected [height, width], as data.image_size=[32,48]"),
    ("data.image_size=(32,48)", "data.image_size=(32,48): a list has square brackets: data.image_size=[32,48]"),
    ("data.mean=[0.5,0.5", "data.mean=[0.5,0.5: the value cannot be read: a bracket is not closed."),
    (
        "data.label_names=[cat,dog,cat]",
        "data.label_names: cat stands there twice: expected another name for each class",
    ),
    ("data.range=[a,1]", "a in data.range: expected a list of numbers, as [-1, 1], or null"),
    (
        "data.val_fraction=10%",
        "data.val_fraction=10%: expected a number (of the training part). Without %: data.val_fr",
    ),
    ("quant.auto_skip.max_drop=1%", "Without %: quant.auto_skip.max_drop=1"),
    ("train.learning_rate=inf", "train.learning_rate=inf: expected a finite number."),
    ("seed=null", "seed=null: expected an integer"),
    ("train.keep_best=null", "train.keep_best=null: expected true or false"),
    ("hydra.run.dir=null", "hydra.run.dir=null: expected a value, and not null."),
    ("data.range=0..255", "0..255 in data.range: expected a list of numbers, as [-1, 1], or null"),
    ("train.learning_rate=0,001", "a fraction has a point: train.learning_rate=0.001; a job for each value wants -m."),
    ("train.batch_size=64k", "train.batch_size=64k: expected an integer (samples per step)."),
    ("quant.weight_bits=int8", "quant.weight_bits=int8: expected an integer (8 or 4)."),
    ("limits.seconds=2m", "expected an integer (of such a child, for one file or one call)."),
    ("quant.calibration=512", "it has keys of its own, as quant.calibration.samples=…: samples, min_samples, engine"),
    (
        "train.optimizer=Adam(0.001)",
        "train.optimizer=sgd train.optimizer.momentum=0.9; the rate is train.learning_rate.",
    ),
    ("train.optimizer.lr=0.01", "train.optimizer.lr=0.01: the rate has a key of its own, train.learning_rate"),
    ("model.target=my:build", "A function is named by model.target._target_=my.build."),
    ("data=user", "data.target._target_=my_package.my_function"),
    ("quant.name=ptq", "quant.name=ptq: written quant=ptq, which brings the settings that go with it"),
    ("quant=[ptq,qat]", "expected one option; a job for each is asked for by -m quant=ptq,qat"),
    ("sweep=quantizers", "sweep=quantizers: written with a plus: +sweep=quantizers"),
    ("train.epochs==3", "train.epochs==3: written with one =, as train.epochs=3"),
    ("train.epochs:3", "train.epochs:3: expected key=value. Did you mean train.epochs=3?"),
    ("debug", "debug: expected key=value. Did you mean debug=…?"),
    ("seed=\u0661", "seed=\u0661: expected an integer (random numbers of weights,"),
    ("quant.learning_rate=0.\uff11", "quant.learning_rate=0.\uff11: expected a number"),
    ("data.range=[0,\u0661]", "data.range=[0,\u0661]: expected a list of numbers"),
    ("seed=-1", "seed=-1: expected a number from 0 to 2147483647."),
    ("data.batch_size=8", "data.batch_size: no such key. Did you mean train.batch_size or quant.batch_size"),
    ("train.loss=mse", "train.loss: no such key; it follows from the task."),
    ("model=simple_cnn data.normal_class=3", "data.normal_class=3: trains on one class, for a model that gives its"),
    ("num_classes=10", "num_classes: no such key; their number is read from the labels."),
    ("output_dir=runs", "output_dir: no such key. Did you mean hydra.run.dir=runs?"),
    ("weight_decay=0.01", "weight_decay: no such key. Did you mean train.optimizer.weight_decay=0.01?"),
    ("train.weight_decay=0.01", "train.weight_decay: no such key. Did you mean train.optimizer.weight_decay=0.01?"),
    ("max_grad_norm=2", "max_grad_norm: no such key. Did you mean train.optimizer.clipnorm=2?"),
    ("lr0=0.01", "lr0: no such key. Did you mean train.learning_rate or quant.learning_rate?"),
    ("int8=true", "int8: no such key. Did you mean quant=qat, trained for 8 bits, or quant=ptq, without training?"),
    ("bf16=true", "bf16: no such key. Did you mean quant=ptq_float16, for float16 in place of bfloat16?"),
    ("format=tflite", "format: no such key; files are .tflite; quant=NAME says how they compute"),
    ("warmup_steps=100", "warmup_steps: no such key; the learning rate has no warm-up; train.schedule=constant or"),
    ("task=detect", "task: no such key; images and features are classified, or with data.normal_class told from"),
    ("val_split=0.2", "val_split: no such key. Did you mean data.val_fraction?"),
    ("hydra.launcher.n_jobs=2", "the launcher of this command has no such key. Choose one first, by hydra/launcher=…"),
    ("model=my.keras", "model.path=my.keras: no such file or folder"),
    ("data=s3://bucket/a.npz", "data.path=s3://bucket/a.npz: no such file or folder. It is an address, and only files"),
    ("data=https://a.org/images/", "images/: no such file or folder. It is an address, and only files of this machine"),
    ("data=file:///no/a.npz", "no such file or folder. It is an address: give the path alone: /no/a.npz"),
    ("model=gs://bucket/a.keras", "It is an address, and only files of this machine are read: download it first"),
]


@pytest.mark.medium
@pytest.mark.parametrize(("line", "message"), KEYS, ids=[line for line, _ in KEYS])
def test_a_key_or_value_that_cannot_be_meant_is_answered(line, message):
    assert message in answer(line.split())


IMAGES = np.random.default_rng(0).integers(0, 256, (40, 6, 6, 1)).astype(np.uint8)
LABELS = np.arange(40) % 4
DATA = [  # what lies at data.path, and what is said of it
    (
        "digits.csv",
        "0,1,2\n3,4,5\n",
        "a text, as a .csv is one, and no .npz. Read it into arrays. Samples and",
    ),
    ("digits.npz", "0;1;2\n", "digits.npz: a text, as a .csv is one, and no .npz."),
    (
        "x.npy",
        IMAGES,
        "x.npy: an .npy, which is one array without labels. Samples and labels are stored together:",
    ),
    ("cut.npz", b"PK\x03\x04 and no more", "cut.npz: not a readable .npz of plain arrays (File is not a zip file)."),
    ("empty.npz", b"", "empty.npz: not a readable .npz of plain arrays"),
    ("folder.npz", None, "folder.npz"),
    ("objects.npz", {"x": np.array([{}] * 40), "y": LABELS}, "it holds Python objects, which are not loaded"),
    ("keys.npz", {"images": IMAGES, "labels": LABELS}, "has no x_train and no y_train; its keys are images, labels."),
    (
        "texts.npz",
        {"x": IMAGES, "y": np.array(["cat", "dog"] * 20)},
        "y holds texts, the first is 'cat': expected",
    ),
    (
        "floats.npz",
        {"x": IMAGES, "y": LABELS / 2},
        "y is float64: expected integers 0..classes-1 of",
    ),
    (
        "one_based.npz",
        {"x": IMAGES, "y": LABELS + 1},
        "no training sample has label 0, though labels go up to 4",
    ),
    (
        "negative.npz",
        {"x": IMAGES, "y": LABELS - 1},
        "y holds 10 labels outside the classes, the first is -1",
    ),
    ("named.npz", {"x": IMAGES, "y": LABELS, "label_names": ["a", "b"]}, "outside the classes 0..1, the first is 2 at"),
    (
        "one_hot.npz",
        {"x": IMAGES, "y": np.eye(4)[LABELS]},
        "y has shape [40, 4]: expected [N]; one-hot labels become that by labels.argmax(axis=1)",
    ),
    (
        "multi_hot.npz",
        {"x": IMAGES, "y": np.eye(4)[LABELS] + np.eye(4)[0] * (LABELS == 2)[:, None]},
        "y has shape [40, 4]: several classes in one row, or none, the first in row 2: labels of this kind (multi-",
    ),
    ("shares.npz", {"x": IMAGES, "y": np.full((40, 4), 0.25)}, "y has shape [40, 4]: expected [N], the class of each"),
    (
        "dates.npz",
        {"x": IMAGES, "y": LABELS.astype("datetime64[D]")},
        "y is datetime64[D]: expected integers 0..classes-1 of an integer type. Number the values that occur",
    ),
    ("data.pkl", b"\x80\x04}", "data.pkl: a pickle, which is a program and is not run."),
    ("data.h5", b"\x89HDF\r\n\x1a\n", "data.h5: an HDF5 file. Read the arrays, as h5py.File(path)['x'][:], and store"),
    (
        "data.parquet",
        b"PAR1 and text",
        "data.parquet: a table of columns. Read the arrays, as pandas.read_parquet(path)",
    ),
    ("a.tfrecord-00000-of-00002", b"\x20\0\0", "records of TensorFlow. Name a function that returns a tf.data.Dataset"),
    ("one.png", b"\x89PNG\r\n", "one.png: one image, and no data set. Give the folder of images: data=FOLDER/"),
    ("images.tar.gz", b"\x1f\x8b\x08", "images.tar.gz: an archive. Unpack it, and give what was in it: data=FOLDER/"),
    ("short.npz", {"x": IMAGES, "y": LABELS[:-1]}, "y has 39 labels for 40 samples: the counts must agree"),
    ("swapped.npz", {"x": LABELS, "y": IMAGES}, "x has shape [40] and y [40, 6, 6, 1]: expected samples [N, ...] and"),
    ("flat.npz", {"x": IMAGES[:, 0, 0, 0], "y": LABELS}, "x has shape [40]: expected [N, ...], one row per sample"),
    (
        "int32.npz",
        {"x": IMAGES.astype(np.int32), "y": LABELS},
        "x is int32: expected uint8 (images, 0..255)",
    ),
]


@pytest.mark.medium
@pytest.mark.parametrize(("name", "content", "message"), DATA, ids=[name for name, _, _ in DATA])
def test_data_that_cannot_be_used_is_answered_by_what_it_is_and_what_is_wanted(name, content, message, tmp_path):
    path = tmp_path / name
    if content is None:
        path.mkdir()
    elif isinstance(content, dict):
        np.savez(path, **content)
    elif isinstance(content, np.ndarray):
        np.save(path, content)
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    (config,) = configs(["data=npz", f"data.path={path}"])
    with pytest.raises(QatError) as refused:
        data.load(config.data, 8, 0)
    assert message in str(refused.value)
    assert refused.value.exit_code == 2


ADAM = {"_target_": "tf_keras.optimizers.Adam", "weight_decay": None}


@pytest.mark.medium
@pytest.mark.parametrize(
    ("line", "read", "value"),
    [
        (["train.optimizer=adam"], lambda c: c.train.optimizer, ADAM),
        (["quant.optimizer=Adam"], lambda c: c.quant.optimizer, ADAM),
        (
            ["train.optimizer=sgd", "train.optimizer.momentum=0.9"],
            lambda c: c.train.optimizer,
            {"_target_": "tf_keras.optimizers.SGD", "weight_decay": None, "momentum": 0.9},
        ),
        (["train.optimizer=adamw"], lambda c: c.train.optimizer["weight_decay"], 0.1),
        (["train.optimizer=my_package.Mine"], lambda c: c.train.optimizer["_target_"], "my_package.Mine"),
        (["export.io=int8"], lambda c: c.export.io, ["int8"]),
        (["data.image_size=96"], lambda c: c.data.image_size, [96, 96]),
        (["data.image_size=96x96"], lambda c: c.data.image_size, [96, 96]),
        (["data.image_size=96 X 96"], lambda c: c.data.image_size, [96, 96]),
        (["data.image_size=[96x96]"], lambda c: c.data.image_size, [96, 96]),
        (["data.range=[-1, 1]"], lambda c: c.data.range, [-1, 1]),
        (["train.epochs=1e1"], lambda c: c.train.epochs, 10),
        (["quant.batch_size=16.0"], lambda c: c.quant.batch_size, 16),
        ([" seed=3"], lambda c: c.seed, 3),
        (["data.mean=0.5", "data.std=0.5"], lambda c: (c.data.mean, c.data.std), ([0.5], [0.5])),
        (["quant.skip=softmax"], lambda c: c.quant.skip, ["softmax"]),
        (["quant.skip=conv|dense.*"], lambda c: c.quant.skip, ["conv|dense.*"]),
        (["quant.skip=^block_[12]$"], lambda c: c.quant.skip, ["^block_[12]$"]),
        (["quant.beside=qat_tfmot"], lambda c: c.quant.beside, ["qat_tfmot"]),
        (["data.label_names=null"], lambda c: c.data.label_names, None),
        (["quant.per_layer={'conv.*':{weight_bits:4}}"], lambda c: c.quant.per_layer, {"conv.*": {"weight_bits": 4}}),
        (["float_cache=a folder (1)"], lambda c: c.float_cache, "a folder (1)"),
    ],
    ids=lambda part: part[0] if isinstance(part, list) else "",
)
def test_a_single_value_is_simply_taken(line, read, value):
    assert read(configs(line)[0]) == value


def test_in_a_sweep_each_single_value_is_a_job_s():
    results = configs(["-m", "export.io=int8,float32", "train.optimizer=sgd,adam", "data.image_size=32,48"])
    assert [(each.export.io, each.data.image_size) for each in results[:2]] == [
        (["int8"], [32, 32]),
        (["float32"], [32, 32]),
    ]
    assert {each.train.optimizer["_target_"] for each in results} == {
        "tf_keras.optimizers.SGD",
        "tf_keras.optimizers.Adam",
    }


@pytest.mark.parametrize("uri", ["http://user:s3cret@host", "http://user:s3cret/@#@host:1/a", "user:s3cret@host"])
@pytest.mark.parametrize("more", [[], ["-m", "seed=0,1"]], ids=["one", "sweep"])
def test_a_password_in_an_address_is_refused_and_not_shown(uri, more):
    message = answer([*more, f"log.mlflow_uri={uri}"])
    assert message.startswith("log.mlflow_uri: expected an address without a user and password")
    assert "MLFLOW_TRACKING_PASSWORD" in message
    assert "s3cret" not in message
    assert "s3cret" not in answer([f"logger.mlflow_uri={uri}"])


@pytest.mark.parametrize("uri", ["http://host:5000/a", "runs@home", "/home/a@b/runs", "file:///home/a@b", "databricks"])
def test_a_place_without_one_is_taken(uri):
    (config,) = configs([f"log.mlflow_uri={uri}"])
    assert config.log.mlflow_uri == uri


def test_a_model_that_was_trained_before_needs_no_epoch(tmp_path):
    (tmp_path / "float").mkdir()
    (tmp_path / "float" / "model.keras").write_bytes(b"PK\3\4")
    assert configs(["train.epochs=0", "model=saved", f"model.path={tmp_path}/float/model.keras"])
    assert configs(["train.epochs=0", f"float_run={tmp_path}"])


def test_an_experiment_is_a_file_of_options_and_the_command_line_goes_before_it():
    (config,) = configs(["experiment=tiny_footprint", "model.alpha=0.25"])
    assert (config.model.alpha, config.export.microcontroller, config.quant.calibration.method) == (0.25, True, "mse")


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("data.path=odd,", "data.path='odd,'"),
        ("hydra.run.dir=multirun/seed=0", "hydra.run.dir='multirun/seed=0'"),
        ("float_run=multirun/seed=0,quant.epochs=1", "float_run='multirun/seed=0,quant.epochs=1'"),
    ],
)
def test_the_folder_of_a_sweeps_job_is_a_value(argument, expected):
    assert normalize_arguments([argument], "train", Config) == [expected]


def test_a_group_of_another_command_is_no_key_of_this_one():
    assert answer(["model=model.tflite"], "verify").startswith("model: no such key. ")


def test_a_path_may_begin_at_home(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    given = ["data.path=~/images", "hydra.run.dir=~", "hydra.run.dir=~/runs", "float_run=~/a=b", "train.epochs=3"]
    taken = normalize_arguments(
        [part for each in ["data=~/images"] for part in expand_path_argument(each)] + given, "train", Config
    )
    assert taken == [
        "data=image_folder",
        "data.path=/home/me/images",
        "data.path=/home/me/images",
        "hydra.run.dir=/home/me",
        "hydra.run.dir=/home/me/runs",
        "float_run='/home/me/a=b'",
        "train.epochs=3",
    ]


def test_a_comma_in_the_name_of_a_file_is_no_list(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a,1.tflite", "b"):
        (tmp_path / name).touch()
    assert normalize_arguments(["tflite=a,1.tflite"], "verify", VerifyConfig) == ["tflite='a,1.tflite'"]
    assert normalize_arguments(["tflite=a,1.tflite"], "benchmark", BenchmarkConfig) == ["tflite='a,1.tflite'"]
    assert normalize_arguments(["tflite=b,c"], "benchmark", BenchmarkConfig) == ["tflite=[b,c]"]


def test_folders_of_jobs_are_compared_one_or_several():
    several = normalize_arguments(["runs=[a/seed=0,a/seed=1]"], "compare", CompareConfig)
    assert several == ["runs=['a/seed=0','a/seed=1']"]
    assert normalize_arguments(["runs=a/seed=0"], "compare", CompareConfig) == ["runs='a/seed=0'"]
    assert normalize_arguments(["runs=a/b,c"], "compare", CompareConfig) == ["runs=[a/b,c]"]


@pytest.mark.parametrize(
    "argv", [["-m", "export.io=choice([int8],[float32])"], ["+sweep=search", "export.io=int8,uint8"]]
)
def test_sweeps_of_lists_are_taken(argv):
    last = normalize_arguments(argv, "train", Config)[-1]
    assert last in ("export.io=choice([int8],[float32])", "export.io=[int8],[uint8]")
