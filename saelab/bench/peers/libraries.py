"""What can be timed: which module times it, what it can train, and how it is known to differ from saelab."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Library:
    """One library, or the floor below all of them."""

    name: str
    module: str  # beside this file
    needs: str | None  # what the worker's Python must be able to import; None: nothing but torch
    settings: tuple[str, ...]
    variants: tuple[str, ...]
    deviations: tuple[str, ...] = ()  # read in the versions that the package's docstring names


OWN = Library("saelab", "own", "saelab", ("default",), ("topk", "batchtopk", "matryoshka"))
FLOOR = Library("gemm", "gemm", None, ("floor",), ("topk", "batchtopk"))

PEERS = (
    Library(
        name="sae-lens",
        module="sae_lens",
        needs="sae_lens",
        settings=("default", "best"),
        variants=("topk", "batchtopk", "matryoshka"),
        deviations=(
            "decoder rows are neither projected nor renormalised; by default the forward pass divides by their length",
            "best: decoder rows are of any length; bf16 decides which features are selected",
            "the gradient's norm is clipped to 1, always",
            "AuxK is a squared error like the reconstruction, not a share of the residual's variance",
        ),
    ),
    Library(
        name="eai-sparsify",
        module="sparsify",
        needs="sparsify",
        settings=("default", "best"),
        variants=("topk",),
        deviations=(
            "AuxK gives the encoder no gradient: its backward pass takes none from the pre-activations",
            "best, on a CPU: bf16 decides which features are selected; on a GPU it always does",
            "decoder rows are renormalised before a step, not after it",
            "by default signum without a schedule trains it, and AuxK is off",
        ),
    ),
    Library(
        name="dictionary-learning",
        module="dictionary_learning",
        needs="dictionary_learning",
        settings=("default", "best"),
        variants=("topk", "batchtopk", "matryoshka"),
        deviations=(
            "best: bf16 decides which features are selected",
            "the gradient's norm is clipped to 1, always",
            "AuxK is a share of the residual's variance beside a reconstruction summed over d_in: 1/d_in as strong",
        ),
    ),
    Library(
        name="dense",
        module="dense",
        needs=None,
        settings=("fp32", "bf16"),
        variants=("topk", "batchtopk"),
        deviations=("no library: a plain dense step with care, and without AuxK; bf16 also decides what is selected",),
    ),
)
LIBRARIES: dict[str, Library] = {library.name: library for library in (OWN, FLOOR, *PEERS)}
