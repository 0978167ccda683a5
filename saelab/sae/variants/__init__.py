"""Every architecture by name. A new one is a file here and a line below."""

from saelab.sae.base import SAE
from saelab.sae.variants.batchtopk import BatchTopK
from saelab.sae.variants.bilinear import Bilinear
from saelab.sae.variants.feature_choice import FeatureChoice
from saelab.sae.variants.gated import Gated
from saelab.sae.variants.gsae import GSAE
from saelab.sae.variants.hierarchical_topk import HierarchicalTopK
from saelab.sae.variants.jumprelu import JumpReLU
from saelab.sae.variants.matryoshka import Matryoshka
from saelab.sae.variants.mp import MP
from saelab.sae.variants.msae import MSAE
from saelab.sae.variants.mutual_choice import MutualChoice
from saelab.sae.variants.ortsae import OrtSAE
from saelab.sae.variants.relu import ReLU
from saelab.sae.variants.topafa import TopAFA
from saelab.sae.variants.topk import TopK
from saelab.sae.variants.tsae import TSAE

VARIANTS: dict[str, type[SAE]] = {
    "relu": ReLU,
    "topk": TopK,
    "batchtopk": BatchTopK,
    "jumprelu": JumpReLU,
    "bilinear": Bilinear,
    "gated": Gated,
    "gsae": GSAE,
    "hierarchical_topk": HierarchicalTopK,
    "matryoshka": Matryoshka,
    "mp": MP,
    "tsae": TSAE,
    "msae": MSAE,
    "mutual_choice": MutualChoice,
    "feature_choice": FeatureChoice,
    "ortsae": OrtSAE,
    "topafa": TopAFA,
}
