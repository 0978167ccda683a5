"""Which implementation of an op a test asks for.

The Triton kernels run on a GPU, or anywhere in Triton's interpreter: TRITON_INTERPRET=1 python -m pytest tests/kernels
"""

import pytest
from implementations import device_of, needs_triton


@pytest.fixture(params=["reference", "cpu", pytest.param("triton", marks=needs_triton)])
def implementation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Everything in the test runs on this implementation."""
    monkeypatch.setenv("SAELAB_KERNELS", request.param)
    return request.param


@pytest.fixture
def device(implementation: str) -> str:
    """Where the tensors of the test belong."""
    return device_of(implementation)
