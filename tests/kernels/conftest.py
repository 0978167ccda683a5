"""Which implementation of an op a test asks for.

The Triton kernels run on a GPU, or anywhere in Triton's interpreter: TRITON_INTERPRET=1 python -m pytest tests/kernels
"""

import pytest
from implementations import INTERPRETED, device_of, needs_triton


@pytest.fixture(params=["reference", "cpu", pytest.param("triton", marks=needs_triton)])
def implementation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Everything in the test runs on this implementation."""
    monkeypatch.setenv("SAELAB_KERNELS", request.param)
    return request.param


@pytest.fixture
def device(implementation: str) -> str:
    """Where the tensors of the test belong."""
    return device_of(implementation)


@pytest.fixture(autouse=True)
def _quick_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Triton's interpreter readies the whole language for every call within a kernel: once per launch is enough."""
    if INTERPRETED:
        from triton.runtime.interpreter import InterpretedFunction

        ready = InterpretedFunction.__call__

        def call(self, *args, **kwargs):
            own = self.fn.__module__.startswith("saelab")  # Triton's own functions see the language by another name
            return self.rewrite()(*args, **kwargs) if own else ready(self, *args, **kwargs)

        monkeypatch.setattr(InterpretedFunction, "__call__", call)
