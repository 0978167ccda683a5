"""What is derived when the settings leave it open. How it was measured: configs/README.md."""

import math

import torch

from saelab.errors import ConfigError

LONG_RUN = 60_000_000  # rows from which the rate that is usual for long runs is used as it is
FASTEST = 10.0  # times that rate, at most: above it more features die than the lower error is worth
FIRINGS = 30  # that a feature would miss, were all equally frequent, before it counts as dead


def default_learning_rate(d_sae: int, rows: int) -> float:
    """Peak rate of Adam: 2e-4 / sqrt(d_sae / 2^14), times sqrt(60 M / rows) within 1 and 10.

    The first factor is Gao et al.'s for runs of 10^8 rows and more (2024, section 2.1 and appendix D). Shorter runs
    end far from converged at it: they need larger steps.
    """
    return 2e-4 / math.sqrt(d_sae / 2**14) * min(FASTEST, max(1.0, math.sqrt(LONG_RUN / rows)))


def default_dead_after(rows: int, d_sae: int, active: int | float | None) -> int:
    """A 75th of the run, but at least a few batches (8192 rows) and the rows in which a feature of average frequency
    fires 30 times; at most a tenth of the run, and the 10 M rows that long runs use.

    The sooner a feature counts as dead, the more of the run AuxK has to bring it back; one that is only rare must not.
    `active`: features per row that the settings ask for (`SAEConfig.active`); None: nobody knows, 8192 rows must do.
    """
    rare = FIRINGS * d_sae / active if active else 0
    return max(1, round(min(rows // 10, 10_000_000, max(8192, rows // 75, rare))))


def resolve_precision(name: str, device: str) -> str:
    """`auto` is bf16 where the product is made for it. Raises ConfigError for bf16 on a processor."""
    gpu = torch.device(device).type == "cuda"
    if name == "bf16" and not gpu:
        raise ConfigError(
            f"train.precision = 'bf16', but train.device is {device!r}: there bf16 only rules features out, and exact "
            "fp32 values decide.\n  fix:   leave train.precision out"
        )
    return name if name != "auto" else "bf16" if gpu else "fp32"


def resolve_device(name: str) -> str:
    """`auto` is the first CUDA device if there is one, else the CPU."""
    return name if name != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
