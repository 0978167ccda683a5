"""At which sites a crosscoder's features are written: the norm of each feature's decoder row, site by site.

    norm[i, s] = |W_dec[i] at site s|,    share[i, s] = norm[i, s] / sum over t of norm[i, t]

in units of each site's own scale, so that sites compare. A feature of one site has a share near 1 there; one that is
carried along through S layers has about 1 / S at each. Lindsey et al. 2024, "Sparse crosscoders", sections 2 and 3.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from saelab.sae import SAE
from saelab.sae.sites import sites_written

OWN = 0.9  # share from which a feature is said to be a site's own


@dataclass(frozen=True, eq=False)
class SiteShares:
    """Decoder norms of all features by site, in the order of the sites."""

    sites: tuple[str, ...]
    norms: Float[Tensor, "d_sae sites"]

    @property
    def shares(self) -> Float[Tensor, "d_sae sites"]:
        """Each feature's norms as shares of their sum; 0 of a feature that writes nothing."""
        return self.norms / self.norms.sum(dim=1, keepdim=True).clamp_min(1e-30)

    @property
    def peak(self) -> Int[Tensor, "d_sae"]:
        """The site at which each feature is strongest, by its place in `sites`."""
        return self.norms.argmax(dim=1)

    def table(self) -> tuple[Sequence[str], list[tuple[str, float, int, int]]]:
        """Per site: the mean share, how many features are strongest there, how many are its own."""
        columns = ("site", "mean share", "strongest here", f"share of {OWN:.0%} or more")
        return columns, [
            (
                site,
                self.shares[:, place].mean().item(),
                int((self.peak == place).sum()),
                int((self.shares[:, place] >= OWN).sum()),
            )
            for place, site in enumerate(self.sites)
        ]


def site_shares(sae: SAE) -> SiteShares:
    """Of an SAE of one site, one column of ones. Raises CheckpointError where the SAE names no site."""
    sae.require_rows("decoder norms by site")
    written = sites_written(sae.metadata, sae.cfg.d_in, sae.cfg.width_out)
    norms = [own.norm(dim=1) for own in written.cut(sae.W_dec.detach().float()).values()]
    return SiteShares(written.names, torch.stack(norms, dim=1))
