import torch

from saelab.pretrain.windows import epoch_batches, windows


def test_every_window_begins_with_bos_and_no_token_is_lost_or_shared():
    cut = windows([torch.arange(1, 8), torch.arange(11, 13)], bos=0, context=4, offset=0)
    assert [row.tolist() for row in cut] == [[0, 1, 2, 3], [0, 4, 5, 6], [0, 7], [0, 11, 12]]


def test_another_offset_moves_the_boundaries():
    cut = windows([torch.arange(1, 8)], bos=0, context=4, offset=2)
    assert [row.tolist() for row in cut] == [[0, 1, 2], [0, 3, 4, 5], [0, 6, 7]]


def test_an_epoch_is_a_function_of_seed_and_number():
    documents = [torch.arange(1, 60), torch.arange(100, 140)]

    def epoch(seed: int, number: int) -> list[list[list[int]]]:
        return [ids.tolist() for ids, _ in epoch_batches(documents, 0, 8, 2, seed, number)]

    assert epoch(0, 1) == epoch(0, 1)
    assert epoch(0, 1) != epoch(0, 2) and epoch(0, 1) != epoch(1, 1)


def test_padding_is_not_scored():
    _, labels = next(epoch_batches([torch.arange(1, 4), torch.arange(5, 7)], 0, 4, 2, 0, 0))
    assert sorted(labels.tolist()) == [[0, 1, 2, 3], [0, 5, 6, -100]]
