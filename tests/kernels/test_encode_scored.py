"""A score decides what is kept, whatever the chunks are; the values are the pre-activations."""

import pytest
import torch

from saelab.kernels.encode_select import ScoredTopK, TopK, cpu, encode_select, reference


def inputs(rows, d, n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(rows, d, generator=generator),
        torch.randn(n, d, generator=generator).t(),
        torch.randn(n, generator=generator),
        torch.rand(rows, n, generator=generator),
    )


def by_weight(weight):
    return lambda pre, rows: pre * weight[rows]


@pytest.mark.parametrize(("rows", "d", "n", "k"), [(1, 3, 7, 2), (97, 5, 130, 3), (64, 16, 64, 64), (3, 2, 1, 1)])
@pytest.mark.parametrize("chunk", [1, 1 << 26])
def test_it_is_its_definition(rows, d, n, k, chunk, monkeypatch):
    monkeypatch.setattr(cpu, "CHUNK_BYTES", chunk * n * 4)
    x, W, b, weight = inputs(rows, d, n)
    rule = ScoredTopK(k, by_weight(weight))
    values, pattern = encode_select(x, W, b, rule)
    expected, wanted = reference.encode_select(x, W, b, rule.kept)
    torch.testing.assert_close(values, expected)
    assert pattern.index.equal(wanted.index)
    assert pattern.offsets.equal(wanted.offsets)


def test_the_pre_activation_as_score_is_top_k_to_the_bit():
    x, W, b, _ = inputs(97, 5, 130)
    scored = encode_select(x, W, b, ScoredTopK(4, lambda pre, rows: pre.clone()))
    plain = encode_select(x, W, b, TopK(4))
    assert scored[0].equal(plain[0])
    assert scored[1].index.equal(plain[1].index)


def test_a_score_of_0_is_not_kept_and_ties_go_to_the_lowest_feature():
    x, W, b = torch.ones(2, 1), torch.ones(4, 1).t(), torch.zeros(4)
    weight = torch.tensor([[0.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 2.0]])
    values, pattern = encode_select(x, W, b, ScoredTopK(2, by_weight(weight)))
    assert (pattern.index.tolist(), pattern.counts.tolist()) == ([1, 2, 3], [2, 1])
    assert values.tolist() == [1.0, 1.0, 1.0]
