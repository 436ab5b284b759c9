"""Names of other tools lead to keys that there are."""

import doctest

from qat.cli import other_names
from qat.cli.schema_keys import all_keys
from qat.config import Config


def test_the_examples_hold():
    found = doctest.testmod(other_names)
    assert (found.failed, found.attempted > 0) == (0, True)


def test_every_abbreviation_leads_to_keys_of_training():
    for word in other_names._ABBREVIATIONS:
        suggested = other_names.suggest_keys(word, Config)
        assert suggested, word
        assert set(suggested) <= set(all_keys(Config))
