"""What libraries reach: as many trainings as are said to be, each at the rate it is said to have."""

import json
from dataclasses import asdict, replace

import pytest
import torch

from saelab.bench.peers.job import Job, rate_of
from saelab.bench.peers.libraries import LIBRARIES
from saelab.bench.quality import QualityBench, QualityConfig, Trained, bench_quality
from saelab.bench.rows import Rows
from saelab.bench.variants import bench_variants
from saelab.errors import ConfigError
from saelab.sae import VARIANTS
from saelab.train.normalise import Normalisation


@pytest.fixture(scope="module")
def data() -> Rows:
    """Rows of a few directions, normalised as the benchmark's are."""
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(32, 16, generator=generator)
    on = torch.rand(4096 + 512, 32, generator=generator) < 0.1
    x = on * torch.rand(on.shape, generator=generator) @ directions
    x = Normalisation.of(x, x).batch(x, x).x
    return Rows("32 directions", x[:4096], x[4096:])


def trained(library: str, rate: float, seed: int, fvu: float) -> Trained:
    return Trained(library, "topk", 4, rate, seed, fvu, 4.0, "as it comes", None)


def test_levels_are_means_over_all_seeds_and_rates_tried_once_are_no_level():
    runs = [trained("saelab", 1.0, seed, 0.2 + 0.02 * seed) for seed in range(2)]
    runs += [trained("peer", 1.0, seed, 0.4) for seed in range(2)]
    runs += [trained("peer", 3.0, 0, 0.9)]  # tried with the first seed, and worse
    bench = QualityBench("", {}, "", {}, runs, [])
    ours, peer = bench.levels()
    assert (ours.fvu, ours.seeds, ours.rate) == (pytest.approx(0.21), 2, 1.0)
    assert ours.spread == pytest.approx(0.02 / 2**0.5)
    assert (peer.library, peer.rate, peer.fvu) == ("peer", 1.0, pytest.approx(0.4))
    assert [row[6] for row in bench.table()[1]] == [1.0, round(0.4 / 0.21, 3)]


def test_a_library_is_trained_again_beside_earlier_trainings_of_the_others(data, tmp_path):
    cfg = QualityConfig(d_sae=32, k=(2,), variants=("topk",), batch=256, steps=2, seeds=1)
    first = bench_quality(cfg, rows=data)
    peer = {**asdict(first.runs[0]), "library": "peer", "fvu": 0.4}
    then = first.to_json() | {"date": "2026-01-02T03:04", "runs": [{**asdict(first.runs[0]), "fvu": 0.9}, peer]}
    file = tmp_path / "then.json"
    file.write_text(json.dumps(then))
    both = bench_quality(cfg, rows=data, earlier=file)
    assert [(run.library, run.fvu) for run in both.runs] == [("saelab", first.runs[0].fvu), ("peer", 0.4)]
    assert both.notes[-1] == "peer: trained on 2026-01-02"
    with pytest.raises(ConfigError, match="its settings differ"):
        bench_quality(cfg.model_copy(update={"steps": 3}), rows=data, earlier=file)
    with pytest.raises(ConfigError, match="its rows differ"):
        bench_quality(cfg, rows=replace(data, origin="others"), earlier=file)
    file.write_text("{}")
    with pytest.raises(ConfigError, match="is no JSON of"):
        bench_quality(cfg, rows=data, earlier=file)


def test_a_setting_names_the_rate():
    assert [rate_of(setting) for setting in ("default", "best", "rate=0.25")] == [1.0, 1.0, 0.25]


def test_saelab_trains_every_kind_with_every_seed(data):
    cfg = QualityConfig(d_sae=32, k=(2, 4), batch=256, steps=12, seeds=2)
    bench = bench_quality(cfg, rows=data)
    assert [(run.variant, run.k, run.seed) for run in bench.runs] == [
        (variant, k, seed) for variant in ("topk", "batchtopk", "matryoshka") for k in (2, 4) for seed in range(2)
    ]
    assert len({run.fvu for run in bench.runs}) == len(bench.runs)  # each its own training
    assert all(run.l0 == pytest.approx(run.k, rel=1e-6) for run in bench.runs if run.variant == "topk")
    assert json.loads(json.dumps(bench.to_json()))["levels"][0]["seeds"] == 2


def test_matryoshka_tells_peers_its_groups():
    job = Job("matryoshka", 4, 32, 2, 8, 1, 1e-3, 1, 9, "cpu", groups=(0.25, 0.25, 0.5))
    assert job.widths == [8, 16, 32]
    assert {name for name, one in LIBRARIES.items() if "matryoshka" in one.variants} == {
        "saelab", "sae-lens", "dictionary-learning",
    }  # fmt: skip


def test_every_sparse_variant_is_timed_beside_topk(data):
    bench = bench_variants(d_sae=32, k=4, batch=256, warm=2, steps=2, data=data)
    assert {row.variant for row in bench.rows} == set(VARIANTS) - {"bilinear"}
    assert next(row for row in bench.rows if row.variant == "topk").times_topk == 1.0
    assert [row.ms_per_step for row in bench.rows] == sorted(row.ms_per_step for row in bench.rows)
    assert next(row for row in bench.rows if row.variant == "topk").l0 == pytest.approx(4, rel=0.01)
