"""Ops timed beside ceilings, and the one call for a GPU, at sizes where figures mean nothing."""

import json

import pytest
import torch
from click.testing import CliRunner

from saelab.bench import correct
from saelab.bench.ceilings import Ceilings
from saelab.bench.kernel_ops import Op
from saelab.bench.kernels import OpTime, bench_kernels
from saelab.cli.bench import command

needs_no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without a GPU")


def test_the_floor_is_set_by_the_ceiling_that_is_met_first():
    ceilings = Ceilings({"float32": 100.0, "bfloat16": 400.0}, bytes=10.0)
    compute = OpTime.of(Op("a", flop=800.0, bytes=10.0, dtype="bfloat16", work=lambda: None), 4.0, ceilings)
    memory = OpTime.of(Op("b", flop=100.0, bytes=50.0, dtype="float32", work=lambda: None), 6.0, ceilings)
    assert (compute.floor, compute.bound_by, compute.gap) == (2.0, "bfloat16 product", 2.0)
    assert (memory.floor, memory.bound_by, memory.gap) == (5.0, "memory", 1.2)


def test_every_kernel_on_this_processor_agrees_with_its_definition():
    checks = correct.check_kernels("cpu", [torch.float32])
    assert {check.op for check in checks} >= {"decode_loss", "nested_loss", "latent_update", "encode_select, TopK"}
    assert [check for check in checks if not check.passed] == []


def test_a_kernel_that_is_wrong_is_found(monkeypatch):
    right = correct.decode_loss
    monkeypatch.setattr(correct, "decode_loss", lambda *given: right(*given)._replace(loss=torch.zeros(())))
    wrong = {check.op for check in correct.check_kernels("cpu", [torch.float32]) if not check.passed}
    assert wrong == {"decode_loss"}


@pytest.mark.slow
def test_every_op_of_a_step_is_timed():
    found = bench_kernels(rows="gaussian", d_in=16, d_sae=256, k=4, batch=64)
    assert len(found.ops) == 7
    assert all(one.seconds > 0 and one.floor > 0 for one in found.ops)
    assert json.loads(json.dumps(found.to_json()))["ceilings"]["flops"].keys() == {"float32", "bfloat16"}
    assert found.table()[1][-1][0] == "ceiling: copy"


@pytest.mark.slow
@needs_no_gpu
def test_the_call_for_a_gpu_runs_small_and_writes_everything(tmp_path):
    answer = CliRunner().invoke(
        command, ["gpu", "--small", "--json", str(tmp_path / "gpu.json")], catch_exceptions=False
    )
    assert answer.exit_code == 0
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert all(check["passed"] for check in found["checks"])
    assert [rows["rows"][0]["library"] for rows in found["train"]] == ["saelab", "saelab"]
    assert len(found["kernels"]) == 2


@needs_no_gpu
def test_without_a_gpu_the_large_shapes_are_refused_and_the_small_ones_named():
    answer = CliRunner().invoke(command, ["gpu"])
    assert "--small" in str(answer.exception)
