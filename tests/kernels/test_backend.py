import pytest
import torch
from implementations import INTERPRETED

from saelab.kernels.backend import VARIABLE, KernelError, backend


@pytest.mark.parametrize("name", ["reference", "cpu"])
def test_what_is_asked_for_runs(monkeypatch, name):
    monkeypatch.setenv(VARIABLE, name)
    assert backend(torch.empty(0)) == name


def test_without_a_word_the_device_decides(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    assert backend(torch.empty(0)) == "cpu"


def test_a_name_that_is_none_is_refused(monkeypatch):
    monkeypatch.setenv(VARIABLE, "cuda")
    with pytest.raises(KernelError, match="reference, cpu, triton"):
        backend(torch.empty(0))


@pytest.mark.skipif(INTERPRETED, reason="in the interpreter Triton runs on the processor")
def test_triton_on_a_processor_is_refused_and_the_way_out_is_said(monkeypatch):
    monkeypatch.setenv(VARIABLE, "triton")
    with pytest.raises(KernelError, match="(?s)fix: .*(pip install|TRITON_INTERPRET)"):
        backend(torch.empty(0))
