import pytest
import torch
from patterns import numbers

from saelab.kernels.encode_select import Above, BatchTopK, TopK, cpu, reference
from saelab.kernels.sparse_decode import sparse_decode
from saelab.kernels.sparse_encode import sparse_encode, topk_encode

SHAPES = [(1, 1, 1, 1), (3, 97, 130, 5), (97, 3, 130, 130), (130, 130, 97, 1)]  # rows, d_in, d_sae, k
NAMES = ("x", "W_enc", "b_enc", "centre")


def inputs(rows, d, n):
    """fp64 x, W_enc (a feature's weights contiguous), b_enc, centre."""
    return numbers(rows, d), numbers(n, d, seed=2).t(), numbers(n, seed=3), numbers(d, seed=4)


def rules(k):
    return {
        "topk": (TopK(k), lambda pre: reference.topk(pre, k)),
        "batchtopk": (BatchTopK(k), lambda pre: reference.batch_topk(pre, k)),
        "above": (Above(0.5), lambda pre: pre > 0.5),
    }


def check(tensors, rule, mask_of):
    """Selection, values and all four gradients equal those of dense autograd."""
    dense = [t.clone().requires_grad_() for t in tensors]
    mine = [t.clone().requires_grad_() for t in tensors]  # clone keeps strides
    pre = (dense[0] - dense[3]) @ dense[1] + dense[2]
    mask = mask_of(pre.detach())
    values, pattern = sparse_encode(*mine[:3], rule, mine[3])
    assert pattern.row.equal(mask.nonzero()[:, 0])
    assert pattern.index.equal(mask.nonzero()[:, 1])
    torch.testing.assert_close(values, pre[mask])
    upstream = numbers(len(values), seed=5)
    want = torch.autograd.grad(pre[mask], dense, upstream)
    for name, got, wanted in zip(NAMES, torch.autograd.grad(values, mine, upstream), want, strict=True):
        torch.testing.assert_close(got, wanted, msg=f"gradient of {name}")


@pytest.mark.parametrize("rule", ["topk", "batchtopk", "above"])
@pytest.mark.parametrize(("rows", "d", "n", "k"), SHAPES)
def test_selection_values_and_gradients_are_the_reference_s(rule, rows, d, n, k):
    check(inputs(rows, d, n), *rules(k)[rule])


@pytest.mark.parametrize("rule", ["topk", "batchtopk", "above"])
def test_chunks_of_a_few_rows_change_nothing(rule, monkeypatch):
    monkeypatch.setattr(cpu, "CHUNK_BYTES", 3 * 130 * 8)
    check(inputs(97, 3, 130), *rules(5)[rule])


def test_two_calls_do_not_share_memory():
    first, _ = sparse_encode(*inputs(3, 5, 7)[:3], TopK(7))
    kept = first.clone()
    sparse_encode(*(t + 1 for t in inputs(3, 5, 7)[:2]), numbers(7), TopK(7))
    assert first.equal(kept)


def selected(pre, rule):
    """What `rule` keeps of these pre-activations: x = pre, W_enc = identity."""
    pre = torch.tensor(pre)
    _, pattern = sparse_encode(pre, torch.eye(pre.shape[1]).t(), torch.zeros(pre.shape[1]), rule)
    return [pattern.index[pattern.row == row].tolist() for row in range(len(pre))]


def test_topk_keeps_the_lowest_features_among_equals():
    assert selected([[1.0, 3.0, 2.0, 2.0, 2.0], [1.0] * 5], TopK(2)) == [[1, 2], [0, 1]]


def test_batch_topk_keeps_the_first_among_equals_of_all_rows():
    assert selected([[1.0, 3.0], [1.0, 1.0], [2.0, 1.0]], BatchTopK(1)) == [[0, 1], [], [0]]


def test_batch_topk_keeps_nothing_that_is_not_positive():
    assert selected([[-1.0, 0.0, 2.0], [-2.0, -1.0, 0.0]], BatchTopK(3)) == [[2], []]


def test_a_threshold_is_exceeded_strictly_and_per_feature():
    assert selected([[1.0, 1.0], [2.0, 0.5]], Above(torch.tensor([1.0, 0.5]))) == [[1], [0]]


def test_batch_topk_is_exact_where_all_that_is_large_is_in_rows_the_sample_misses():
    pre = numbers(130, 97).abs() * 1e-3
    pre[1] = 1 + numbers(97).abs()  # the sample takes rows 0, 4, 8, …
    pre[2] = 1 + numbers(97, seed=9).abs()
    eye, zero = torch.eye(97, dtype=torch.float64).t(), torch.zeros(97, dtype=torch.float64)
    values, _ = sparse_encode(pre, eye, zero, BatchTopK(1))
    assert values.sort().values.equal(pre.flatten().topk(130).values.sort().values)


def test_batch_topk_lowers_a_bound_that_proved_too_high():
    pre = torch.zeros(128, 100, dtype=torch.float64)
    pre[::4] = 1 + numbers(32, 100).abs()  # exactly the rows of the sample: its bound lets through a quarter
    pre[1::4] = 0.5 + 0.1 * numbers(32, 100, seed=3).abs()
    eye, zero = torch.eye(100, dtype=torch.float64).t(), torch.zeros(100, dtype=torch.float64)
    for k in (1, 30, 60):
        values, _ = sparse_encode(pre, eye, zero, BatchTopK(k))
        positive = pre.flatten().topk(128 * k).values
        assert values.sort().values.equal(positive[positive > 0].sort().values)


def test_topk_keeps_nothing_that_is_not_positive():
    assert selected([[-1.0, 0.0, 2.0], [-2.0, -1.0, 0.0], [3.0, 1.0, 2.0]], TopK(2)) == [[2], [], [0, 2]]


def test_not_a_number_is_handed_on():
    x = torch.tensor([[float("nan"), 1.0]])
    values, _ = sparse_encode(x, torch.eye(2).t(), torch.zeros(2), TopK(1))
    assert values.isnan().all()


def test_a_W_enc_laid_out_the_other_way_is_refused():
    with pytest.raises(ValueError, match="must be contiguous"):
        sparse_encode(torch.ones(2, 3), torch.ones(3, 4), torch.ones(4), TopK(1))


def test_an_empty_batch_is_refused():
    with pytest.raises(ValueError, match="at least one row"):
        sparse_encode(torch.ones(0, 3), torch.ones(4, 3).t(), torch.ones(4), TopK(1))


def test_the_gradient_of_W_enc_is_laid_out_as_W_enc():
    W_enc = torch.ones(4, 3).t().requires_grad_()
    values, _ = sparse_encode(torch.ones(2, 3), W_enc, torch.zeros(4), TopK(1))
    values.sum().backward()
    assert W_enc.grad is not None
    assert W_enc.grad.stride() == W_enc.stride() == (1, 3)


def test_the_same_inputs_give_the_same_bits():
    x, W_enc, b_enc, centre = (t.float() for t in inputs(97, 130, 97))
    runs = []
    for _ in range(2):
        leaves = [t.clone().requires_grad_() for t in (W_enc, b_enc, centre)]
        values, _ = sparse_encode(x, leaves[0], leaves[1], BatchTopK(5), leaves[2])
        runs.append([values, *torch.autograd.grad(values.square().sum(), leaves)])
    assert all(a.equal(b) for a, b in zip(*runs, strict=True))


def test_encoding_in_inference_mode_first_does_not_spoil_encoding_after_it():
    x, W_enc, b_enc = torch.randn(5, 8), torch.randn(300, 8).t(), torch.zeros(300)
    with torch.inference_mode():
        inside, _ = sparse_encode(x, W_enc, b_enc, TopK(3))
    outside, _ = sparse_encode(x, W_enc, b_enc, TopK(3))
    assert torch.equal(inside, outside)


@pytest.mark.parametrize("rule", [TopK(4), BatchTopK(4)])
def test_bf16_never_decides_what_is_kept(rule, monkeypatch):
    """Values that are all the same number in bf16: rough scores can't tell them apart, the exact ones can."""
    monkeypatch.setattr(cpu, "rough_pays", lambda *_: True)
    order = torch.stack([torch.randperm(128, generator=torch.Generator().manual_seed(row)) for row in range(5)])
    pre = 1 + order * 1e-5
    assert pre.bfloat16().unique().numel() == 1
    values, pattern = sparse_encode(pre, torch.eye(128).t(), torch.zeros(128), rule)
    for row in range(5):
        kept = pattern.index[pattern.row == row]
        assert order[row, kept].sort().values.tolist() == [124, 125, 126, 127]
    assert values.equal(pre[pattern.row, pattern.index])


def test_where_fewer_than_k_are_positive_nothing_else_gets_a_gradient():
    pre = torch.tensor([[-1.0, 0.0, 2.0, -3.0], [-2.0, -1.0, 0.0, -1.0]])
    W_enc, b_enc = torch.eye(4).t().requires_grad_(), torch.zeros(4, requires_grad=True)
    values, _ = sparse_encode(pre, W_enc, b_enc, TopK(3))
    torch.relu(values).sum().backward()
    assert b_enc.grad.tolist() == [0.0, 0.0, 1.0, 0.0]
    assert W_enc.grad.t().abs().sum(dim=1).tolist() == [0.0, 0.0, 6.0, 0.0]


def test_encoder_and_decoder_together_have_the_gradients_of_a_dense_sae():
    """`topk_encode` and `sparse_decode`, the ops for people's own modules, in every tensor they read."""
    x, W_enc, b_enc, centre = inputs(97, 31, 40)
    tensors = (x, W_enc, b_enc, centre, numbers(40, 31, seed=6))
    dense, mine = ([t.clone().requires_grad_() for t in tensors] for _ in range(2))
    f = torch.relu((dense[0] - dense[3]) @ dense[1] + dense[2])
    kept = torch.zeros_like(f).scatter(1, f.topk(5, dim=1).indices, 1.0)
    values, pattern = topk_encode(*mine[:3], 5, mine[3])
    x_hat, wanted = sparse_decode(values, pattern, mine[4]), (f * kept) @ dense[4]
    torch.testing.assert_close(x_hat, wanted)
    upstream = numbers(97, 31, seed=7)
    for got, want in zip(
        torch.autograd.grad(x_hat, mine, upstream), torch.autograd.grad(wanted, dense, upstream), strict=True
    ):
        torch.testing.assert_close(got, want)
