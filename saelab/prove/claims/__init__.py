"""Every claim by name. A variant's claims are the file of its name; a new one is a line below."""

from saelab.prove.claim import Claim
from saelab.prove.claims import batchtopk, topk

CLAIMS: dict[str, Claim] = {
    claim.name: claim
    for claim in (
        *topk.CLAIMS,
        *batchtopk.CLAIMS,
    )
}
