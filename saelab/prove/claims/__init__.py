"""Every claim by name. A variant's claims are the file of its name; a new one is a line below."""

from saelab.prove.claim import Claim
from saelab.prove.claims import (
    batchtopk,
    bilinear,
    chat,
    crosscoder,
    feature_choice,
    gated,
    gsae,
    hierarchical_topk,
    jumprelu,
    layer_groups,
    lorsa,
    matryoshka,
    mp,
    msae,
    mutual_choice,
    ortsae,
    recipes,
    relu,
    topafa,
    topk,
    transcoders,
    tsae,
)

CLAIMS: dict[str, Claim] = {
    claim.name: claim
    for claim in (
        *topk.CLAIMS,
        *recipes.CLAIMS,
        *transcoders.CLAIMS,
        *layer_groups.CLAIMS,
        *chat.CLAIMS,
        *batchtopk.CLAIMS,
        *mutual_choice.CLAIMS,
        *feature_choice.CLAIMS,
        *ortsae.CLAIMS,
        *gsae.CLAIMS,
        *topafa.CLAIMS,
        *crosscoder.CLAIMS,
        *bilinear.CLAIMS,
        *gated.CLAIMS,
        *hierarchical_topk.CLAIMS,
        *matryoshka.CLAIMS,
        *msae.CLAIMS,
        *relu.CLAIMS,
        *jumprelu.CLAIMS,
        *lorsa.CLAIMS,
        *tsae.CLAIMS,
        *mp.CLAIMS,
    )
}
