"""A step whose rows do not fit into memory at once is taken in pieces, where its loss is a sum over rows."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from saelab.contracts import Batch
from saelab.errors import TrainError
from saelab.sae import SAE

Share = tuple[Batch, float]  # some rows of a batch, and which share of it they are


class Pieces:
    """How many pieces a batch is taken in: one, until memory runs out, and twice as many each time it does.

    In exact arithmetic the step is the same but for AuxK, whose term is relative to the residual of its own piece,
    and for how long ago features fired, which is counted piece by piece.
    """

    def __init__(self, name: str, sae: SAE, apart: bool, note: Callable[[str], object]) -> None:
        """`apart`: whether the loss is a mean over rows."""
        self.name, self.sae, self.apart, self.note, self.count = name, sae, apart, note, 1

    def gradients(
        self, batch: Batch, backward: Callable[[Sequence[Share]], dict[str, Tensor]], forget: Callable[[], None]
    ) -> dict[str, Tensor]:
        """What `backward` returns for the pieces; `forget` undoes a backward pass that broke off.

        Raises TrainError when memory does not suffice and the rows cannot be taken in smaller pieces.
        """
        while True:
            counters = {name: buffer.clone() for name, buffer in self.sae.named_buffers()}
            try:
                return backward(self._pieces(batch))
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    raise
                said = str(error)
            # outside the handler: the traceback would hold on to the tensors of the pass
            forget()
            for name, buffer in self.sae.named_buffers():
                buffer.copy_(counters[name])
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            self._smaller(len(batch.x), said)

    def _pieces(self, batch: Batch) -> list[Share]:
        if self.count == 1:
            return [(batch, 1.0)]
        x = batch.x.chunk(self.count)
        y = x if batch.y is batch.x else batch.y.chunk(self.count)
        gradient = [None] * len(x) if batch.gradient is None else batch.gradient.chunk(self.count)
        return [(Batch(*rows), len(rows[0]) / len(batch.x)) for rows in zip(x, y, gradient, strict=True)]

    def _smaller(self, rows: int, said: str) -> None:
        if not self.apart or 2 * self.count > rows:
            why = "its loss is not a sum over rows" if not self.apart else "a piece is one row already"
            raise TrainError(
                f"{self.name}: out of memory in a step of {rows:,} rows, which cannot be taken in smaller pieces: "
                f"{why}.\n  reason: {said.splitlines()[0] if said else 'no memory'}"
                "\n  fix:    lower train.batch or sae.d_sae, or train fewer SAEs in one pass"
            )
        self.count *= 2
        self.note(f"{self.name}: out of memory; from here on a step takes its {rows:,} rows in {self.count} pieces")


def out_of_memory(error: BaseException) -> bool:
    """Whether an operation failed for want of memory, on a GPU or on the CPU."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)
