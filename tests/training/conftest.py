"""Fixtures of the tests of training."""

import pytest
import torch


@pytest.fixture
def one_thread():
    """Sums in the same order as in processes that a test starts, and as in stored runs."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
