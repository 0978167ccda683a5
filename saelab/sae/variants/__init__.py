"""Every architecture by name. A new one is a file here and a line below."""

from saelab.sae.base import SAE
from saelab.sae.variants.batchtopk import BatchTopK
from saelab.sae.variants.jumprelu import JumpReLU
from saelab.sae.variants.relu import ReLU
from saelab.sae.variants.topk import TopK

VARIANTS: dict[str, type[SAE]] = {
    "relu": ReLU,
    "topk": TopK,
    "batchtopk": BatchTopK,
    "jumprelu": JumpReLU,
}
