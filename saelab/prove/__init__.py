"""Evidence that every variant does what its paper says, on data whose answer is known.

`CLAIMS` lists what is claimed; `prove` measures claims over several seeds; `saelab prove` prints them.
"""

from saelab.prove.claim import AtLeast, AtMost, Claim
from saelab.prove.claims import CLAIMS
from saelab.prove.run import Proved, prove, read_proofs

__all__ = ["CLAIMS", "AtLeast", "AtMost", "Claim", "Proved", "prove", "read_proofs"]
