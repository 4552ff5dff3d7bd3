"""What every test stands on: the environment that TensorFlow reads at import, real media where there are any, object
stores."""

import os
import pathlib

# Read once, when TensorFlow is first imported: TFX, TFT and TFMA are built on Keras 2; training uses oneDNN, as a run
# does; tests use no GPU and no chatter.
os.environ['TF_USE_LEGACY_KERAS'] = '1'
os.environ['TF_ENABLE_ONEDNN_OPTS'] = '1'
os.environ['TF_CPP_MIN_LOG_LEVEL'] = '2'
os.environ['CUDA_VISIBLE_DEVICES'] = ''

import pytest  # noqa: E402

from tests.object_stores import gcs, s3  # noqa: E402, F401

SHARED_DATA = pathlib.Path(__file__).resolve().parents[2] / 'shared' / 'data'


@pytest.fixture(scope='session')
def shared_data() -> pathlib.Path:
    """The folder of real media beside the repository; a test that asks for it is skipped where there is none."""
    if not SHARED_DATA.is_dir():
        pytest.skip('needs ../shared/data, which this machine does not have')
    return SHARED_DATA


def pytest_collection_modifyitems(items):
    """The longest first: `make test` runs two processes, and neither must wait long for the other."""
    items.sort(key=lambda item: (item.get_closest_marker('e2e') is None, item.get_closest_marker('slow') is None))
