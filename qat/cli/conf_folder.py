"""Where our YAML is."""

from pathlib import Path

from qat.errors import ConfigError


def conf_dir() -> Path:
    """The folder of our YAML: inside the package when installed from a wheel, next to it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "conf", package.parent / "conf"):
        if (folder / "train.yaml").is_file():
            return folder
    raise ConfigError(f"conf/ was found neither in {package} nor next to it: this installation of qat is not whole.")


def choices_of(group: str) -> list[str]:
    """Names of a group's options, such as "qat" of "quant"; empty where there is no such group."""
    return sorted(file.stem for file in (conf_dir() / group).glob("*.yaml"))
