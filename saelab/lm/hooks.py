"""Read and change activations at hook points; every hook is taken away again, whatever happens.

One site needs more than one hook. The middle of the residual stream (`resid_mid`) is read by the second norm,
but the stream itself runs past it: a change made at the norm alone would reach the MLP and be missing from
everything behind. So the change is added once more at the end of the block,

    mid'  = edit(mid)
    post  = mid' + mlp(norm(mid')) = (mid + mlp(norm(mid'))) + (mid' - mid).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

Edit = Callable[[Tensor, int], Tensor]
"""(activations [batch, tokens, d], absolute position of their first token) -> what stands there instead."""

Hook = Callable[[Tensor], Tensor | None]


class Enough(Exception):
    """Raised inside a forward pass once every site that was asked for has been read."""


@contextmanager
def hooked(point: Any, function: Hook, first: bool = False) -> Iterator[None]:
    """Run `function` at a TransformerLens hook point; what it returns, unless None, replaces the activation.

    Hooks run in the order they are set, `first` before those that are there.
    """
    handle = point.add_hook(lambda tensor, hook: function(tensor), prepend=first)
    try:
        yield
    finally:
        handle.hook.remove()
        point.fwd_hooks.remove(handle)


def flat(tensor: Tensor) -> Tensor:
    """[batch, tokens, d], where attention's z comes as [batch, tokens, heads, d_head]."""
    return tensor.flatten(start_dim=2)


def changed(tensor: Tensor, edit: Edit, start: int) -> Tensor:
    """`tensor` as `edit` wants it, in its own shape and dtype."""
    rows = flat(tensor)
    new = edit(rows, start)
    assert new.shape == rows.shape, f"an edit returned {tuple(new.shape)} for {tuple(rows.shape)}"
    return new.reshape(tensor.shape).to(tensor.dtype)


@contextmanager
def stream_edit(point: Any, end_of_block: Any, edit: Edit, start: Callable[[], int]) -> Iterator[None]:
    """Edit `resid_mid` so that the whole residual stream behind it takes part."""
    pending: list[Tensor] = []

    def at_the_norm(tensor: Tensor) -> Tensor:
        new = changed(tensor, edit, start())
        pending[:] = [new - tensor]
        return new

    def at_the_end(tensor: Tensor) -> Tensor:
        return tensor + pending.pop()

    with hooked(point, at_the_norm), hooked(end_of_block, at_the_end, first=True):
        yield
