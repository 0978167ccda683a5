"""Labelled rows of a bed whose true features are known, and the codes of true and of random dictionaries."""

import numpy as np
import torch
from scipy import sparse

from saelab.evals.sample import Sample
from saelab.sae import VARIANTS, sae_config
from saelab.synthetic import bed


def tree(rows: int, seed: int, **settings) -> tuple[object, Sample]:
    """A tree bed and rows of it with true codes; labels "0", "1", ... say which features fire."""
    made = bed({"bed": "tree", **settings})
    drawn = made.draw(rows, seed)
    names = tuple(str(i) for i in range(made.n))
    labels = (drawn.f > 0).t().numpy()
    return made, Sample(names, labels, drawn.x.numpy(), sparse.csr_matrix(drawn.f.numpy()))


def with_codes_of(sample: Sample, W_dec: np.ndarray, k: int) -> Sample:
    """The same rows with the codes of a TopK SAE of these unit decoder rows and their transpose for an encoder."""
    n, d = W_dec.shape
    sae = VARIANTS["topk"](sae_config({"variant": "topk", "d_in": d, "d_sae": n, "k": k})).eval()
    sae.W_dec.data = torch.from_numpy(W_dec)
    sae.W_enc.data = torch.from_numpy(W_dec).t()
    with torch.no_grad():
        f = sae.encode(torch.from_numpy(sample.x)).numpy()
    return Sample(sample.names, sample.labels, sample.x, sparse.csr_matrix(f))


def random_rows(n: int, d: int, seed: int = 0) -> np.ndarray:
    W = torch.randn(n, d, generator=torch.Generator().manual_seed(seed))
    return (W / W.norm(dim=1, keepdim=True)).numpy()
