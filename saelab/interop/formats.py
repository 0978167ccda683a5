"""Every format by name. A new one is a file here and a line below."""

from saelab.interop import (
    circuit_tracer,
    dictionary_learning,
    gemma_scope,
    gemma_scope_2,
    llamascopium,
    openai,
    saelens,
    sparsify,
)
from saelab.interop.format import Format

FORMATS: dict[str, Format] = {
    "saelens": saelens.FORMAT,
    "sparsify": sparsify.FORMAT,
    "dictionary_learning": dictionary_learning.FORMAT,
    "gemma_scope": gemma_scope.FORMAT,
    "gemma_scope_2": gemma_scope_2.FORMAT,
    "openai": openai.FORMAT,
    "llamascopium": llamascopium.FORMAT,
    "circuit_tracer": circuit_tracer.FORMAT,
}
