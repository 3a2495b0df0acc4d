"""For all tests: one thread each, as a run has.

Two workers with two threads each on two cores would spend their time waiting for one another: a test
of 20 s has taken five minutes.
"""

import os

# Before torch and NumPy are imported, and for the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pytest
import torch


@pytest.fixture(autouse=True)
def same_numbers() -> None:
    """Draws of torch's own generator are each test's, whichever tests ran before it."""
    torch.manual_seed(0)
