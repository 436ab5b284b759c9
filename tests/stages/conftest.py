"""The smallest run there is: simple_cnn on a few digits, one epoch."""

import pytest

from qat.door import compose

TINY = ("debug=tiny", "model=simple_cnn", "log.progress=plain")


@pytest.fixture
def tiny(tmp_path):
    """A checked config of a tiny run whose float cache lies in tmp_path; overrides on top."""

    def composed(*overrides):
        return compose([*TINY, f"float_cache={tmp_path / 'cache'}", *overrides])

    return composed
