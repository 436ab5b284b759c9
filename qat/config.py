"""Every knob, its type, unit and default. No TensorFlow here: a typo is answered before anything slow is imported.

`_target_` dictionaries stand only where the set is open (optimizer, learning-rate schedule, a user's model or data).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from qat.choices import COLOUR_ORDERS, RESIZE_METHODS
from qat.limits import Limits
from qat.setting import CHANCE, FILES, MANY, NOTHING, section, setting
from qat.variants import FILE_KINDS, QUANTIZERS

MOST_THREADS = 1024
MISSING = "???"  # OmegaConf's mark for "the user must say this"
SCHEDULES = ("constant", "cosine")
SCHEDULED = ("delay", "freeze_observers_at", "freeze_bn_at")  # of quant: what happens at a point of its training
METHODS = ("minmax", "percentile", "mse")  # how a range follows from calibration samples
LAYER_SETTINGS: dict[str, tuple[Any, ...]] = {"weight_bits": (4, 8), "per_channel": (True, False), "method": METHODS}
"""The settings of quant.per_layer, each with its choices."""
PRESERVE = ("none", "sparsity", "clusters", "auto")  # what quant.preserve takes, other than null


@dataclass(slots=True, kw_only=True)
class AugmentationConfig:
    """What may be done to training images; off by default, and never done to anything but `train`."""

    crop_pixels: int = setting(0, low=0, high=MANY)  # pad by so many pixels per side, then crop back at random
    flip: bool = False  # left-right
    shift_pixels: int = setting(0, low=0, high=MANY)  # largest shift per side, edges repeated


@dataclass(slots=True, kw_only=True)
class DataConfig:
    name: str = MISSING  # a key of qat.data.DATASETS
    path: str | None = None  # .npz or folder, for npz, image_folder, and local copies of the others
    val_fraction: float = setting(0.15, above=0, below=1)  # of the training part
    test_fraction: float = setting(0.35, above=0, below=1)  # only where the set brings no test split of its own
    split_seed: int = setting(0, low=0, high=2**31 - 1)  # the split is the same for every `seed`
    image_size: list[int] | None = None  # [height, width]; None keeps the data's own
    channels: int | None = None  # 1 or 3; None keeps the data's own
    range: list[float] | None = None  # [low, high] that raw 0..255 becomes, or None: as the data set's contract says
    mean: list[float] | None = None  # with std: (raw / 255 - mean) / std, one number per channel
    std: list[float] | None = setting(None, above=0)  # with mean: above 0, one number per channel
    colour_order: str = setting("rgb", choices=COLOUR_ORDERS)  # of the model's input; images are read as rgb
    resize: str = setting("bilinear", choices=RESIZE_METHODS)  # how images get the size of the input
    max_samples: int | None = setting(None, low=1, high=MANY)  # a debug knob: keep so many of each split
    skip_corrupt: bool = False  # image_folder: leave out, name and count files that no decoder takes
    label_names: list[str] | None = None  # of the classes, in order; None = as the data names or numbers them
    # anomaly detection: train on it alone; every other is label 1 in val and test
    normal_class: int | None = setting(None, low=0, high=MANY)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    target: dict[str, Any] = field(default_factory=dict)  # data=user: {_target_: module.function, ...}


@dataclass(slots=True, kw_only=True)
class ModelConfig:
    name: str = MISSING  # a key of qat.models.MODELS
    alpha: float = setting(1.0, above=0, high=64)  # width multiplier
    depth_multiplier: int = setting(1, low=1, high=64)  # of depthwise convolutions: outputs per channel
    strides: list[int] | None = None  # mobilenet: stride of the stem and of the 13 blocks; None = the standard ones
    dropout: float = setting(0.0, low=0, below=1)  # share before the last layer
    bn_momentum: float = setting(0.99, low=0, below=1)  # of BatchNormalization's moving mean and variance
    bn_epsilon: float = setting(1e-3, above=0, high=1)  # of BatchNormalization, added to the variance
    app: str | None = None  # keras_app: a constructor in tf_keras.applications
    keras: int = setting(2, low=2, high=3)  # keras_app: the Keras whose constructor it is
    weights: str | None = None  # keras_app: None, or a path to weights
    path: str | None = None  # saved: .keras or .h5 of Keras 2 or 3, or a SavedModel folder
    trust_custom_objects: bool = setting(False, effect=NOTHING)  # saved: another name of `trust`
    target: dict[str, Any] = field(default_factory=dict)  # model=user: {_target_: module.function, ...}


@dataclass(slots=True, kw_only=True)
class TrainConfig:
    """The float training."""

    # epochs of the float training; 0 only for a model that is trained already
    epochs: int = setting(30, low=0, high=MANY)
    batch_size: int = setting(32, low=1, high=MANY)  # samples per step
    learning_rate: float = setting(1e-3, above=0)  # the first; schedule says how it goes on
    # adam, sgd, adamw, … or {_target_: its name, and its arguments}
    optimizer: dict[str, Any] = field(default_factory=lambda: {"_target_": "tf_keras.optimizers.Adam"})
    schedule: str = setting("cosine", choices=SCHEDULES)  # how the learning rate goes on from the first
    # share of the label that goes to the other classes
    label_smoothing: float = setting(0.0, low=0, below=1)
    # stop after so many epochs without a better val metric; None = never
    early_stop_epochs: int | None = setting(None, low=1, high=MANY)
    keep_best: bool = True  # keep the weights of the best val epoch
    callbacks: list[Any] = setting([], has_sections=True)  # extra Keras callbacks, each a {_target_: …}
    strategy: str = setting("none", choices=("none", "mirrored", "multiworker"))  # of tf.distribute
    # threads of each of TensorFlow's ops; None = all cores, 1 for digits
    threads: int | None = setting(None, low=1, high=MOST_THREADS, effect=CHANCE)


@dataclass(slots=True, kw_only=True)
class CalibrationConfig:
    # training samples for calibration, drawn by class; None = 256, or all of a smaller train
    samples: int | None = setting(None, low=1, high=MANY)
    # refuse fewer; None = 100 where samples is set, else a warning below 100
    min_samples: int | None = setting(None, low=1, high=MANY)
    # whose ranges int8 PTQ takes: auto (our own, TFLite's where a model has no canonical form) | tflite
    engine: str = setting("auto", choices=("auto", "tflite"))
    method: str = setting("minmax", choices=METHODS)  # how a range follows from the samples
    percentile: float = setting(99.99, low=50, high=100)  # method=percentile: of the absolute values on each side
    batch_size: int = setting(32, low=1, high=MANY)  # samples at a time


@dataclass(slots=True, kw_only=True)
class AutoSkipConfig:
    max_drop: float | None = setting(None, low=0, high=100)  # accuracy points (0-100); None = do not look


@dataclass(slots=True, kw_only=True)
class DistillationConfig:
    weight: float = setting(0.0, low=0, high=1)  # share of the teacher's loss, 0-1; 0 = off
    temperature: float = setting(4.0, low=1e-3, high=1e3)  # softens the teacher's and the model's probabilities


@dataclass(slots=True, kw_only=True)
class QuantConfig:
    name: str = setting(MISSING, choices=tuple(QUANTIZERS))  # the quantizer
    # further quantizers to train, to compare with: [qat_tfmot]; quant=qat, qat_w4a8 only
    beside: list[str] = setting([], effect=FILES)
    calibration: CalibrationConfig = field(default_factory=CalibrationConfig)

    weight_bits: int = setting(8, choices=LAYER_SETTINGS["weight_bits"])  # 8 or 4
    per_channel: bool = True  # a weight scale for each output channel; false = one for each tensor
    equalization: bool = False  # even out neighbouring channels across layers first; the float function stays
    # without being asked to, where channels differ so many times; None = never
    equalize_above: float | None = setting(10.0, low=1)
    bias_correction: bool = False  # move each bias by the mean error that quantization leaves on calibration data
    allow_float: bool = False  # ptq: leave ops without an int8 kernel in float, and say which

    epochs: int = setting(5, low=0, high=MANY)  # epochs of quantization-aware training
    batch_size: int | None = setting(None, low=1, high=MANY)  # None = train.batch_size
    learning_rate: float = setting(1e-4, above=0)  # of quantization-aware training, the first
    # as train.optimizer
    optimizer: dict[str, Any] = field(default_factory=lambda: {"_target_": "tf_keras.optimizers.Adam"})
    schedule: str = setting("cosine", choices=SCHEDULES)  # how the learning rate goes on from the first

    sensitivity: bool = setting(False, effect=FILES)  # measure, rank and draw what each layer costs
    skip: list[str] = field(default_factory=list)  # regular expressions over layer names: left in float
    per_layer: dict[str, Any] = field(default_factory=dict)  # regex -> {weight_bits, per_channel, method}
    auto_skip: AutoSkipConfig = field(default_factory=AutoSkipConfig)

    # what pruning or clustering has made of the float kernels stays in training: none | sparsity | clusters | auto
    preserve: str | None = "auto"  # of auto, the one that is recognised, which is said; null is none
    # ranges of activations hold a batch's largest number at once, and forget it within some 10 / (1 - ema_decay) steps
    ema_decay: float = setting(0.99, low=0, high=0.999999)
    learned_ranges: bool = False  # ranges are trained by gradient (LSQ-like) instead of observed
    delay: Any = None  # train in float until this share of the steps (0.2), step (200steps) or epoch (1epochs)
    freeze_observers_at: Any = None  # ranges stay from this share (0.8), step (200steps) or epoch (3epochs) on
    freeze_bn_at: Any = None  # BatchNorm statistics stay from this share (0.8), step or epoch on
    reestimate_bn: bool = False  # recompute BatchNorm statistics from train before export
    distillation: DistillationConfig = field(default_factory=DistillationConfig)


@dataclass(slots=True, kw_only=True)
class ParityConfig:
    samples: int = setting(256, low=1, high=MANY)  # samples of val that are compared
    min_agreement: float = setting(0.99, low=0, high=1)  # share of samples with the same class as the fake-quant model
    max_accuracy_gap: float = setting(0.003, low=0, high=1)  # share, 0.003 = 0.3 points
    min_within_1_lsb: float = setting(0.98, low=0, high=1)  # share of outputs that differ by one step at most
    max_lsb: int = setting(8, low=0, high=255)  # steps by which the worst output may differ
    enforce: bool = True  # exit 4 when broken, after all files are written


@dataclass(slots=True, kw_only=True)
class ExportConfig:
    io: list[str] = field(default_factory=lambda: ["int8"])  # int8 | uint8 | float32, several at once
    # fix the batch of every file, as microcontrollers want 1; None leaves it open
    batch_size: int | None = setting(None, low=1, high=4096)
    signature: str = "serving_default"  # under which name the file's inputs and outputs are found
    metadata: bool = setting(True, effect=FILES)  # contract and labels inside the file, and as model.json in its folder
    snippets: bool = setting(True, effect=FILES)  # code that feeds the file, in a folder of its own
    # README.md in each variant's folder, a model card as the Hugging Face Hub reads it
    card: bool = setting(True, effect=NOTHING)
    # of the models, for their cards, as apache-2.0; None = the cards name none
    license: str | None = setting(None, effect=NOTHING)
    microcontroller: bool = False  # also .cc/.h, operator list, arena bound, golden vectors


@dataclass(slots=True, kw_only=True)
class LogConfig:
    tensorboard: bool = False  # curves, tables and pictures in the run's folder; logger=tensorboard, which is chosen
    # metrics.csv in the run's folder, a row per epoch and variant; logger=csv
    csv: bool = setting(False, effect=NOTHING)
    mlflow: bool | None = setting(False, effect=NOTHING)  # a run in MLflow; None = where it is installed; logger=mlflow
    # a server or folder; None = the variable MLFLOW_TRACKING_URI, else the folder mlruns
    mlflow_uri: str | None = setting(None, effect=NOTHING)
    # epochs between exports of the int8 file while training; 0 = only at the end
    deployed_every: int = setting(1, low=0, high=MANY)
    deployed_samples: int = setting(256, low=1, high=MANY)  # samples of val on which each of them is measured
    ranges_every: int = setting(1, low=0, high=MANY)  # epochs between logs of quantizer ranges; 0 = never
    progress: str = setting("auto", choices=("auto", "bar", "plain", "off"), effect=NOTHING)  # of long work


@dataclass(slots=True, kw_only=True)
class SweepConfig:
    """What holds for a sweep as a whole."""

    resume: str | None = None  # directory of a sweep: run there what is missing of it
    objectives: list[str] = field(default_factory=lambda: ["accuracy", "size_bytes"])  # what a search goes for


@dataclass(slots=True, kw_only=True)
class Config:
    """`python -m qat.train`."""

    # random numbers of weights, order of samples, dropout, and the draw of calibration samples
    seed: int = setting(0, low=0, high=2**31 - 1, effect=CHANCE)
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    quant: QuantConfig = field(default_factory=QuantConfig)
    parity: ParityConfig = section(ParityConfig, effect=FILES)
    export: ExportConfig = field(default_factory=ExportConfig)
    log: LogConfig = section(LogConfig, effect=FILES)
    sweep: SweepConfig = section(SweepConfig, effect=NOTHING)
    # directory of a run that was killed: it goes on there, with the settings that it was begun with
    resume: str | None = setting(None, effect=NOTHING)
    float_run: str | None = None  # a run directory whose float model is taken instead of training one
    float_cache: str | None = setting(None, effect=NOTHING)  # None = the user's cache folder
    # threads of the interpreter; None = all cores
    threads: int | None = setting(None, low=1, high=MOST_THREADS, effect=NOTHING)
    # true: run what the files and folders named here bring (Lambda code, SavedModels, _target_s)
    trust: Any = setting(False, effect=NOTHING)
    limits: Limits = section(Limits, effect=NOTHING)  # of memory, time and sizes, for files of anybody


@dataclass(slots=True, kw_only=True)
class VerifyConfig:
    """`python -m qat.verify`."""

    tflite: str = MISSING  # the file to look into
    readiness: bool = False  # also what a full-int8 accelerator, the Edge TPU and a microcontroller would reject
    trust: Any = False  # true: run what the files and folders named here bring (Lambda code, SavedModels, _target_s)
    limits: Limits = field(default_factory=Limits)  # of memory, time and sizes, for files of anybody


@dataclass(slots=True, kw_only=True)
class AppConfig:
    """What the app around a file does, for `python -m qat.diagnose`."""

    preprocess: str | None = None  # module:function, raw batch to real model inputs
    run: str | None = None  # module:function, (raw batch, bytes of the file) to outputs or labels
    fed: str | None = None  # .npy, as written into the input tensor
    outputs: str | None = None  # .npy, as the app recorded them


@dataclass(slots=True, kw_only=True)
class ContractConfig:
    """How a file is fed, where it does not say so itself; what is given here goes before what the file says."""

    range: list[float] | None = None  # [low, high] that raw 0..255 becomes
    mean: list[float] | None = None  # with std: (raw / 255 - mean) / std, one number per channel
    std: list[float] | None = setting(None, above=0)  # with mean: above 0, one number per channel
    colour_order: str | None = setting(None, choices=COLOUR_ORDERS)  # of the model's input; images are read as rgb
    resize: str | None = setting(None, choices=RESIZE_METHODS)  # how images get the size of the input


@dataclass(slots=True, kw_only=True)
class EvaluateConfig:
    """`python -m qat.evaluate`."""

    tflite: str = MISSING  # the file to evaluate
    data: DataConfig = field(default_factory=DataConfig)
    split: str = setting("test", choices=("test", "val", "train", "all"))  # which part of the data is scored
    contract: ContractConfig = field(default_factory=ContractConfig)
    threads: int | None = setting(None, low=1, high=MOST_THREADS)  # None = all cores
    delegate: bool = True  # let XNNPACK take the ops that it knows
    trust: Any = False  # true: run what the files and folders named here bring (Lambda code, SavedModels, _target_s)
    limits: Limits = field(default_factory=Limits)  # of memory, time and sizes, for files of anybody


@dataclass(slots=True, kw_only=True)
class BenchmarkConfig:
    """`python -m qat.benchmark`."""

    tflite: Any = None  # one file, or several as [a.tflite,b.tflite]
    run: str | None = None  # or the directory of a run of qat.train: each file in it, side by side
    make_missing: bool = True  # run: make the float16 and dynamic-range files that it lacks from its float model
    threads: Any = 1  # one number, or several as [1,2]: each is a row of its own
    batch: Any = 1  # samples per call; as threads
    delegate: Any = field(default_factory=lambda: [True, False])  # XNNPACK on, off, or both
    # of one sample, as [96,96,3], where a file leaves them open; None = as its metadata says, else 64 each
    sizes: list[int] | None = setting(None, low=1, high=65536)
    rounds: int = setting(20, low=1, high=10_000)  # in each round every file has its turn, in an order that changes
    seconds: float = setting(2.0, low=0.01, high=3600)  # of measuring, for each row, all rounds together
    warmup_seconds: float = setting(0.3, low=0, high=600)  # of calls before the first that counts
    profile: bool = True  # time each operator in a file of its own
    tensorboard: bool = True  # pictures of the measurement in the run's folder
    trust: Any = False  # true: run what the files and folders named here bring (Lambda code, SavedModels, _target_s)
    limits: Limits = field(default_factory=Limits)  # of memory, time and sizes, for files of anybody


@dataclass(slots=True, kw_only=True)
class DiagnoseConfig:
    """`python -m qat.diagnose`."""

    tflite: str | None = None  # the file that does worse
    run: str | None = None  # or the directory of a run of qat.train: each file in it is looked at
    keras: str | None = None  # the model that it was made from: .keras, .h5 or a SavedModel folder
    samples_from: str | None = None  # data=FILE: an .npz of raw `inputs` and `labels`, or the name of a data set
    preprocess: str | None = None  # module:function, the training preprocessing: raw batch to float32 model inputs
    user: AppConfig = field(default_factory=AppConfig)
    calibration: str | None = None  # module:function, the representative dataset
    expect: str | None = setting(None, choices=FILE_KINDS)  # the kind of file that was meant
    samples: int = setting(512, low=1, high=MANY)  # how many of the data are taken, from the first on
    trust: Any = False  # true: run what the files and folders named here bring (Lambda code, SavedModels, _target_s)
    limits: Limits = field(default_factory=Limits)  # of memory, time and sizes, for files of anybody


@dataclass(slots=True, kw_only=True)
class CompareConfig:
    """`python -m qat.compare`."""

    runs: Any = MISSING  # a directory of a run, of a sweep or of many, or several as [DIR,DIR]
    sort: Any = None  # a column, or several; - before one for the largest first; None = the best metric first
    filter: Any = None  # what holds for all that is kept, as "variant=qat_int8 and size_bytes<300000", or a list
    confidence: float = setting(0.95, low=0.5, below=1)  # of the intervals over seeds
    trust: Any = False  # true: run what the files and folders named here bring (Lambda code, SavedModels, _target_s)
    limits: Limits = field(default_factory=Limits)  # of memory, time and sizes, for files of anybody
