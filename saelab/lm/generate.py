"""Decode token by token with a key-value cache, all rows of a batch on the same random numbers.

With temperature T > 0 the next token is drawn by the Gumbel-max rule,

    token = argmax_v (logits_v / T + g_v),   g_v = -log(-log u_v),   u_v ~ U(0, 1),

with one vector g per step for every row: two rows with the same logits choose the same token, and rows whose
logits differ a little differ rarely. What sets a steered row apart from its default row is then the steering.
T = 0 is greedy.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

Forward = Callable[[Tensor, Any, int], tuple[Tensor, Any]]
"""(ids [batch, new], cache or None, absolute position of the first id) -> (logits [batch, new, vocab], cache)."""


@dataclass(frozen=True)
class Step:
    """One token for each row. A row that has stopped repeats its stop token, at log-probability 0."""

    tokens: Int[Tensor, "batch"]
    logprobs: Float[Tensor, "batch"]  # nats, of the model at temperature 1


def decode(
    forward: Forward,
    ids: Int[Tensor, "batch tokens"],
    steps: int,
    *,
    temperature: float,
    seed: int,
    stop: frozenset[int],
) -> Iterator[Step]:
    """At most `steps` tokens after `ids`; ends early once every row has produced a token of `stop`."""
    generator = torch.Generator().manual_seed(seed)
    ends = torch.tensor(sorted(stop), dtype=ids.dtype, device=ids.device)
    stopped = torch.zeros(ids.shape[0], dtype=torch.bool, device=ids.device)
    cache, start, last = None, 0, ids
    for _ in range(steps):
        with one_thread(ids.device):
            logits, cache = forward(last, cache, start)
            start += last.shape[1]
            token, logprob = choose(logits[:, -1], temperature, generator)
            token = torch.where(stopped, last[:, -1], token)
        yield Step(token, torch.where(stopped, 0.0, logprob))
        stopped = stopped | torch.isin(token, ends)
        if bool(stopped.all()):
            return
        last = token.unsqueeze(1)


@torch.inference_mode()
def choose(
    logits: Float[Tensor, "batch vocab"], temperature: float, generator: torch.Generator
) -> tuple[Int[Tensor, "batch"], Float[Tensor, "batch"]]:
    """The next token of each row and its log-probability."""
    score = logits
    if temperature > 0:
        uniform = torch.rand(logits.shape[1], generator=generator, dtype=torch.float64)
        score = logits / temperature - torch.log(-torch.log(uniform)).to(logits)
    token = score.argmax(dim=1)
    return token, logits.log_softmax(dim=1).gather(1, token.unsqueeze(1)).squeeze(1)


@contextmanager
def one_thread(device: torch.device) -> Iterator[None]:
    """One thread on a CPU: the products of one token are too small to share, and sharing them loses time."""
    before = torch.get_num_threads()
    if device.type != "cpu" or before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
