"""The folder of our YAML, and the options of its groups."""

from qat.cli.conf_folder import choices_of, conf_dir
from qat.variants import QUANTIZERS


def test_every_quantizer_is_an_option():
    assert (conf_dir() / "train.yaml").is_file()
    assert set(QUANTIZERS) <= set(choices_of("quant"))
    assert choices_of("no_such_group") == []
