import hypothesis
import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from implementations import INTERPRETED, TRITON, device_of, needs_triton
from patterns import numbers

from saelab.kernels.deferred import Whole, deferring
from saelab.kernels.encode_select import Above, BatchTopK, TopK, cpu, encode_select, reference
from saelab.kernels.encode_select.rough import RoughChunk
from saelab.kernels.encode_select.rounded import RoundedWeights
from saelab.kernels.latent_update import AdamStep, Moments, latent_update
from saelab.kernels.latent_update import cpu as update_cpu

SHAPES = [(1, 1, 1, 1), (5, 3, 97, 2), (3, 5, 130, 130), (33, 2, 70, 3), (2, 4, 300, 1)]  # rows, d_in, d_sae, k
RULES = {"topk": TopK, "batchtopk": BatchTopK, "above": lambda k: Above(float(k))}


@pytest.fixture(params=["reference", "cpu", "rough", pytest.param("triton", marks=needs_triton)])
def way(request, monkeypatch):
    """An implementation; "rough" is the CPU's with scores in bf16, whether or not that pays here."""
    monkeypatch.setenv("SAELAB_KERNELS", "cpu" if request.param == "rough" else request.param)
    monkeypatch.setattr(cpu, "rough_pays", lambda x, W_enc: request.param == "rough")
    return request.param


def whole_numbers(rows, d, n, seed=0):
    """x, W_enc, b_enc of small whole numbers: every sum is exact, in any order, in bf16 too, and many are equal."""
    generator = torch.Generator().manual_seed(seed)
    x, W, b = (torch.randint(-4, 5, shape, generator=generator).float() for shape in ((rows, d), (n, d), (n,)))
    return x, W.t(), b


def as_they_are(pre):
    """x, W_enc, b_enc whose pre-activations are these numbers."""
    return pre, torch.eye(pre.shape[1]).t(), torch.zeros(pre.shape[1])


def run(tensors, rule, device="cpu"):
    """Values, features and offsets, on the CPU again."""
    if isinstance(rule, Above) and isinstance(rule.threshold, torch.Tensor):
        rule = Above(rule.threshold.to(device))
    x, W_enc, b_enc = tensors
    values, pattern = encode_select(x.to(device), W_enc.t().to(device).t(), b_enc.to(device), rule)
    assert pattern.n == len(b_enc)
    return values.cpu(), pattern.index.cpu(), pattern.offsets.cpu()


def defined(tensors, rule):
    """The same by the definition, in fp64."""
    values, pattern = reference.encode_select(*(tensor.double() for tensor in tensors), rule.kept)
    return values, pattern.index, pattern.offsets


def assert_same(found, wanted):
    assert found[2].equal(wanted[2])
    assert found[1].equal(wanted[1])
    assert found[0].double().equal(wanted[0].double())


def features(found):
    """Row by row."""
    return [some.tolist() for some in found[1].tensor_split(found[2][1:-1])]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("rows", "d", "n", "k"), SHAPES)
def test_what_can_be_computed_exactly_is_selected_exactly(way, rule, rows, d, n, k):
    tensors = whole_numbers(rows, d, n)
    assert_same(run(tensors, RULES[rule](k), device_of(way)), defined(tensors, RULES[rule](k)))


@pytest.mark.parametrize("rule", RULES)
def test_the_selection_is_fp64_s_and_the_values_are_to_rounding(way, rule):
    x, W_enc, b_enc = numbers(33, 31).float(), numbers(200, 31, seed=2).float().t(), numbers(200, seed=3).float()
    found, wanted = run((x, W_enc, b_enc), RULES[rule](5), device_of(way)), defined((x, W_enc, b_enc), RULES[rule](5))
    assert found[1].equal(wanted[1]) and found[2].equal(wanted[2])  # of these numbers no two are as close as rounding
    # 31 products of |x| |W| in fp32, each rounded by 6e-8 of itself
    assert (found[0] - wanted[0]).abs().max() <= 2e-6 * x.norm(dim=1).max() * W_enc.norm(dim=0).max()


@pytest.mark.parametrize("data", ["normal", "down", "up"])
def test_rough_scores_are_upper_bounds_and_no_more_than_their_slack_above(data):
    """`down` and `up`: all factors are rounded the same way by all that bf16 can round, and x is parallel to W_enc."""
    d, n = 64, 24
    x, W, b = numbers(5, d).float(), numbers(n, d, seed=2).float(), numbers(n, seed=3).float()
    if data != "normal":
        share = 2.0**-8 * (1 + 2.0**-10 if data == "up" else 1 - 2.0**-10)
        x, W = torch.full_like(x, 1 + share), torch.where(torch.arange(n) % 2 == 0, 1 + share, -1 - share).unsqueeze(1)
        W = W.expand(n, d).contiguous()
    (chunk,) = RoughChunk.of(x, W.t(), b, rows=5)
    place = torch.arange(n)
    scores = chunk._scores.float()[:, place % 8 * (n // 8) + place // 8] - chunk.shift
    pre = x.double() @ W.double().t() + b.double()
    rounding = chunk.rounding * (scores + chunk.shift).abs()
    assert (scores + rounding >= pre).all()
    assert (scores - rounding <= pre + chunk.slack).all()
    assert (scores - pre).max() > 0.3 * chunk.slack.max()  # the bound is not idle: half of the slack is what it adds


class TestRoundedWeightsThatAStepLeaves:
    W = numbers(20, 16).float()

    def rows_of(self, W):
        """What is multiplied, made from nothing."""
        made = RoundedWeights(W)
        made.follow(0, W)
        return made.rows[:, : W.shape[1]], made.lengths, made.rests

    def assert_true(self, kept, W):
        for mine, wanted in zip((kept.rows[:, : W.shape[1]], kept.lengths, kept.rests), self.rows_of(W), strict=True):
            assert mine.equal(wanted)

    @pytest.mark.parametrize("way", ["cpu", "reference"])
    def test_they_are_those_of_the_weights_after_it(self, way, monkeypatch):
        monkeypatch.setenv("SAELAB_KERNELS", way)
        monkeypatch.setattr(update_cpu, "CHUNK_BYTES", 1)  # 8 features at a time
        W, gradient = self.W.clone(), Whole(numbers(20, 16, seed=1).float())
        with deferring() as first:
            kept = RoundedWeights.of(W)
        moments = Moments(torch.zeros_like(W), torch.zeros_like(W))
        latent_update(W, moments, [gradient], AdamStep(1, 0.1), False, first.derived[W.data_ptr()])
        assert not W.equal(self.W)
        with deferring(first.derived):
            assert RoundedWeights.of(W) is kept
        self.assert_true(kept, W)

    @pytest.mark.parametrize("change", [lambda W: W.mul_(2), lambda W: W[3].add_(1), lambda W: W.t().zero_()])
    def test_a_change_by_anyone_else_is_seen(self, change):
        W = self.W.clone()
        with deferring() as first:
            RoundedWeights.of(W)
        change(W)
        with deferring(first.derived):
            self.assert_true(RoundedWeights.of(W), W)


@needs_triton
@pytest.mark.parametrize("rule", RULES)
def test_triton_hands_on_the_bits_of_the_multiplication(monkeypatch, rule):
    x, W_enc, b_enc = numbers(17, 31).float(), numbers(200, 31, seed=2).float().t(), numbers(200, seed=3).float()
    given = [tensor.to(device_of("triton")) for tensor in (x, W_enc.t(), b_enc)]
    found = []
    for name in ("triton", "cpu"):
        monkeypatch.setenv("SAELAB_KERNELS", name)
        values, pattern = encode_select(given[0], given[1].t(), given[2], RULES[rule](5))
        found.append((values, pattern.index, pattern.offsets))
    assert_same(*found)


@hypothesis.given(
    st.integers(1, 4), st.integers(1, 4), st.integers(1, 90), st.integers(1, 9), st.sampled_from(sorted(RULES)),
    st.integers(0, 10**6),
)  # fmt: skip
@settings(max_examples=25, deadline=None)
def test_any_shape(rows, d, n, k, rule, seed):
    name = "triton" if TRITON else "cpu"
    tensors = whole_numbers(rows, d, n, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAELAB_KERNELS", name)
        found = run(tensors, RULES[rule](min(k, n)), device_of(name))
    assert_same(found, defined(tensors, RULES[rule](min(k, n))))


@pytest.mark.parametrize("rule", RULES)
def test_chunks_of_a_few_rows_change_nothing(way, rule, monkeypatch):
    if way == "triton":
        from saelab.kernels.encode_select import scores

        monkeypatch.setattr(scores, "CHUNK_BYTES", 3 * 70 * 4)
    monkeypatch.setattr(cpu, "CHUNK_BYTES", 3 * 70 * 4)
    tensors = whole_numbers(10, 3, 70)
    assert_same(run(tensors, RULES[rule](2), device_of(way)), defined(tensors, RULES[rule](2)))


def test_of_equals_the_lowest_features_are_kept(way):
    pre = torch.ones(3, 300)
    pre[1, 7::50] = 3.0  # at 7, 57, 107, 157, 207, 257
    pre[2, 290:] = 2.0
    pre[2, 280] = 1.5
    found = run(as_they_are(pre), TopK(4), device_of(way))
    assert features(found) == [[0, 1, 2, 3], [7, 57, 107, 157], [290, 291, 292, 293]]
    found = run(as_they_are(pre), BatchTopK(4), device_of(way))  # 6 threes, then 6 of ten twos
    assert features(found) == [[], [7, 57, 107, 157, 207, 257], [290, 291, 292, 293, 294, 295]]


def test_winners_side_by_side_are_all_found(way):
    """More of them in one group than there are groups: what narrows the search elsewhere is of no use."""
    pre = 0.25 + torch.arange(300.0).flip(0).repeat(2, 1) / 1024
    pre[0, 64:128] = 2 + torch.arange(64.0) / 64
    found = run(as_they_are(pre), TopK(6), device_of(way))
    assert features(found) == [[122, 123, 124, 125, 126, 127], [0, 1, 2, 3, 4, 5]]


def test_what_is_not_positive_is_never_kept(way):
    pre = -torch.ones(4, 130)
    pre[1] = 0.0
    pre[2, [5, 129]] = torch.tensor([1.0, 1e-30])
    assert features(run(as_they_are(pre), TopK(3), device_of(way))) == [[], [], [5, 129], []]
    assert features(run(as_they_are(pre), BatchTopK(3), device_of(way))) == [[], [], [5, 129], []]


def test_a_threshold_is_exceeded_strictly_and_per_feature(way):
    pre = torch.tensor([[1.0, 1.0, -1.0], [2.0, 0.5, 0.0]])
    assert features(run(as_they_are(pre), Above(torch.tensor([1.0, 0.5, -1.0])), device_of(way))) == [[1], [0, 2]]
    assert features(run(as_they_are(pre), Above(-1.0), device_of(way))) == [[0, 1], [0, 1, 2]]


@pytest.mark.parametrize("rule", RULES)
def test_a_row_of_huge_numbers_does_not_disturb_the_others(way, rule):
    tensors = whole_numbers(6, 3, 90)
    tensors[0][4] *= 2.0**66  # 7e19
    assert_same(run(tensors, RULES[rule](2), device_of(way)), defined(tensors, RULES[rule](2)))


def test_infinite_values_are_the_largest(way):
    x, W_enc = torch.tensor([[1e20], [1.0]]), torch.zeros(1, 90)
    W_enc[0, [3, 7, 40, 80]] = torch.tensor([1e20, 1.0, 2.0, 1e20])
    found = run((x, W_enc.t().contiguous().t(), torch.zeros(90)), TopK(3), device_of(way))
    assert features(found) == [[3, 40, 80], [3, 40, 80]]
    assert found[0].tolist() == [torch.inf, torch.tensor(2e20).item(), torch.inf, *torch.tensor([1e20, 2, 1e20])]


@pytest.mark.parametrize("rule", ["topk", "above"])
def test_what_is_no_number_is_handed_on_and_stays_in_its_row(way, rule):
    tensors = whole_numbers(5, 3, 90)
    clean = features(defined(tensors, RULES[rule](2)))
    tensors[0][2, 1] = torch.nan
    found = run(tensors, RULES[rule](2), device_of(way))
    values = found[0].tensor_split(found[2][1:-1])
    assert values[2].isnan().all() and len(values[2]) == (2 if rule == "topk" else 90)
    assert [some for row, some in enumerate(features(found)) if row != 2] == clean[:2] + clean[3:]


def test_batch_topk_hands_on_what_is_no_number(way):
    tensors = whole_numbers(5, 3, 90)
    tensors[0][2, 1] = torch.nan
    assert run(tensors, BatchTopK(2), device_of(way))[0].isnan().any()


@pytest.mark.parametrize("rule", RULES)
def test_the_same_inputs_give_the_same_bits_and_no_shared_memory(way, rule):
    tensors = (numbers(5, 31).float(), numbers(97, 31, seed=2).float().t(), numbers(97, seed=3).float())
    first = run(tensors, RULES[rule](3), device_of(way))
    kept = first[0].clone()
    assert_same(run(tensors, RULES[rule](3), device_of(way)), first)
    run(whole_numbers(5, 31, 97), RULES[rule](3), device_of(way))
    assert first[0].equal(kept)


@pytest.mark.parametrize("rule", RULES)
def test_every_output_is_written_and_nothing_else_is_read(way, rule, monkeypatch):
    """Fresh memory full of NaN, or of numbers past all ends: what is left unwritten would show."""
    fresh = torch.empty

    def poisoned(*shape, **how):
        tensor = fresh(*shape, **how)
        return tensor.fill_(torch.nan if tensor.is_floating_point() else torch.iinfo(tensor.dtype).max // 2)

    tensors = whole_numbers(5, 3, 97)
    wanted = defined(tensors, RULES[rule](3))
    monkeypatch.setattr(torch, "empty", poisoned)
    assert_same(run(tensors, RULES[rule](3), device_of(way)), wanted)


@pytest.mark.parametrize("rule", RULES)
def test_after_inference_mode_all_is_as_before(way, rule):
    tensors = whole_numbers(5, 3, 97)
    with torch.inference_mode():
        inside = run(tensors, RULES[rule](3), device_of(way))
    assert_same(run(tensors, RULES[rule](3), device_of(way)), inside)


def test_fp64_stays_fp64(way):
    tensors = [tensor.double() for tensor in whole_numbers(5, 3, 97)]
    assert run(tensors, TopK(3), device_of(way))[0].dtype == torch.float64


@needs_triton
class TestTriton:
    """What is Triton's alone: guesses that prove wrong, and addresses past 2^31."""

    @pytest.fixture(autouse=True)
    def _triton(self, monkeypatch):
        monkeypatch.setenv("SAELAB_KERNELS", "triton")

    def test_batch_topk_makes_room_where_there_is_too_little(self, monkeypatch):
        from saelab.kernels.encode_select import fused

        monkeypatch.setattr(fused, "ROOM", 1)
        tensors = whole_numbers(5, 3, 97)
        assert_same(run(tensors, BatchTopK(3), device_of("triton")), defined(tensors, BatchTopK(3)))

    @pytest.mark.parametrize("high", [5.0, 1e30])
    def test_batch_topk_lowers_a_threshold_that_proved_too_high(self, monkeypatch, high):
        from saelab.kernels.encode_select import fused

        likely = fused._likely_threshold
        guesses = iter([high])
        monkeypatch.setattr(
            fused,
            "_likely_threshold",
            lambda x, *more: (
                torch.full((1,), guess, device=x.device) if (guess := next(guesses, None)) else likely(x, *more)
            ),
        )
        tensors = whole_numbers(5, 3, 97)
        assert_same(run(tensors, BatchTopK(9), device_of("triton")), defined(tensors, BatchTopK(9)))

    @hypothesis.given(st.lists(st.integers(1, 2**31 - 1), min_size=1, max_size=40), st.data())
    @settings(max_examples=25, deadline=None)
    def test_the_cut_is_that_of_a_sort(self, keys, data):
        from saelab.kernels.encode_select.cut import cut_of

        k = data.draw(st.integers(1, len(keys)))
        cut = cut_of(torch.tensor(keys, dtype=torch.int32, device=device_of("triton")), k)
        wanted = sorted(keys, reverse=True)[k - 1]
        assert (cut.key.item(), cut.above.item()) == (wanted, sum(key > wanted for key in keys))

    def test_the_cut_among_equals_and_neighbours(self):
        from saelab.kernels.encode_select.cut import cut_of

        keys = torch.tensor([7] * 5 + [2**31 - 1] * 3 + [8] * 4, dtype=torch.int32, device=device_of("triton"))
        cuts = [cut_of(keys, k) for k in (1, 3, 4, 7, 8, 12)]
        assert [(cut.key.item(), cut.above.item()) for cut in cuts] == [
            (2**31 - 1, 0), (2**31 - 1, 0), (8, 3), (8, 3), (7, 7), (7, 7),
        ]  # fmt: skip

    @pytest.mark.parametrize(("n", "k"), [(1, 1), (97, 3), (9216, 32), (131072, 64), (9216, 9216), (10**6, 64)])
    def test_a_row_has_neither_too_few_nor_too_many_groups(self, n, k):
        from saelab.kernels.encode_select.row_select import MOST_GROUPS, group_size

        groups = -(-n // group_size(n, k))
        assert groups <= MOST_GROUPS and (groups >= 4 * k or group_size(n, k) == 1 or 2 * groups > MOST_GROUPS)

    @pytest.mark.skipif(not INTERPRETED, reason="only the interpreter can run one program out of 32,769")
    def test_rows_past_2_to_the_31_are_selected(self, monkeypatch):
        from triton.runtime.interpreter import interpreter_builder

        from saelab.kernels.encode_select import passing, row_select

        rows, n = 2**15 + 1, 2**16
        pre = torch.empty(rows, n, dtype=torch.int8)  # only what is touched is real
        pre[-1] = 0
        pre[-1, [5, 700, 60000]] = torch.tensor([3, 1, 2], dtype=torch.int8)
        block = lambda x, y, z: setattr(interpreter_builder, "grid_idx", (rows - 1, y, z))  # noqa: E731
        monkeypatch.setattr(interpreter_builder, "set_grid_idx", block)
        maxima, lists = torch.empty(rows, 1024, dtype=torch.int32), torch.empty(rows, 2, 1024, dtype=torch.int32)
        kept = row_select.Kept.empty(rows, 2, torch.device("cpu"))
        row_select._maxima[(1, 16)](pre, None, maxima, n, 1024, GROUP=64, GROUPS=64)
        row_select._select[(1,)](pre, None, maxima, lists, *kept, n, 1024, 2, SHIFT=6, GROUPS=1024, TILE=256)
        assert (kept.values[-1].tolist(), kept.features[-1].tolist()) == ([3.0, 2.0], [5, 60000])
        counts, threshold = torch.zeros(rows, 1024, dtype=torch.int32), torch.ones(1)
        passing._count[(1, 16)](pre, None, threshold, counts, n, 1024, STEP=0, GROUP=64, GROUPS=64)
        values, place = passing.space(2, torch.device("cpu"))
        passing._write[(1, 16)](
            pre, None, threshold, counts, counts.flatten().cumsum(0), values, place, 0, 2, n, 1024,
            STEP=0, GROUP=64, GROUPS=64,
        )  # fmt: skip
        assert (values.tolist(), place.tolist()) == ([3.0, 2.0], [2**31 + 5, 2**31 + 60000])


@needs_triton
class TestEmitting:
    """The multiplication that selects as it goes, against the definition."""

    @pytest.fixture(autouse=True)
    def _small_blocks(self, monkeypatch):
        from saelab.kernels.encode_select import emit

        if INTERPRETED:
            for name in ("BLOCK_ROWS", "BLOCK_FEATURES", "BLOCK_D"):
                monkeypatch.setattr(emit, name, 16)

    def emitted(self, tensors, k, guess):
        from saelab.kernels.encode_select.emit import topk_emitting

        x, W_enc, b_enc = (tensor.t().contiguous().t().to(device_of("triton")) for tensor in tensors)
        values, pattern = topk_emitting(x.contiguous(), W_enc, b_enc, k, guess)
        return values.cpu(), pattern.index.cpu(), pattern.offsets.cpu()

    @pytest.mark.parametrize(("rows", "d", "n", "k"), [(1, 1, 1, 1), (5, 3, 97, 2), (17, 20, 20, 20), (2, 4, 300, 1)])
    @pytest.mark.parametrize("ratio", [None, 0.5, 1e9])
    def test_any_guess_gives_the_same(self, rows, d, n, k, ratio):
        """None: everything positive; 0.5: lists run over; 1e9: they stay empty."""
        from saelab.kernels.encode_select.emit import Guess

        tensors = whole_numbers(rows, d, n)
        guess = Guess(None if ratio is None else torch.tensor(ratio, device=device_of("triton")))
        assert_same(self.emitted(tensors, k, guess), defined(tensors, TopK(k)))

    def test_a_guess_gets_better_and_then_few_rows_are_computed_twice(self, monkeypatch):
        from saelab.kernels.encode_select import emit

        tensors = (numbers(40, 31).float(), numbers(300, 31, seed=2).float().t(), numbers(300, seed=3).float())
        guess, again, topk = emit.Guess(), [], emit.topk
        monkeypatch.setattr(emit, "topk", lambda x, *more: again.append(len(x)) or topk(x, *more))
        first = self.emitted(tensors, 4, guess)
        second = self.emitted(tensors, 4, guess)
        assert first[1].equal(second[1]) and first[1].equal(defined(tensors, TopK(4))[1])
        assert again[0] == 40 and sum(again[1:]) <= 2

    def test_the_same_inputs_give_the_same_bits(self):
        from saelab.kernels.encode_select.emit import Guess

        tensors = (numbers(20, 31).float(), numbers(97, 31, seed=2).float().t(), numbers(97, seed=3).float())
        runs = [self.emitted(tensors, 3, Guess(torch.tensor(2.0, device=device_of("triton")))) for _ in range(2)]
        assert_same(*runs)

    @pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # by numpy, in the interpreter
    def test_what_is_no_number_or_infinite_is_handed_on(self):
        from saelab.kernels.encode_select.emit import Guess

        tensors = whole_numbers(5, 3, 97)
        clean = features(defined(tensors, TopK(2)))
        tensors[0][1, 0], tensors[0][3, 1] = torch.nan, torch.inf
        found = self.emitted(tensors, 2, Guess(torch.tensor(1.0, device=device_of("triton"))))
        values = found[0].tensor_split(found[2][1:-1])
        assert values[1].isnan().all() and not values[3].isfinite().any()
        assert [features(found)[row] for row in (0, 2, 4)] == [clean[row] for row in (0, 2, 4)]
