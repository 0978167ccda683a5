"""Other libraries' SAEs, in and out: `import_saes`, `export_saes`, and `FORMATS`, the list of what is read and written.

What an index knows of features goes out too: `export_features`, and `FEATURE_FORMATS`.

What decides an SAE's arithmetic (whether b_dec is taken off the input, what is folded, how weights lie) is converted,
and what was converted is said. A file that does not say is refused, not guessed.
"""

from saelab.interop.converted import Converted, ConvertedFeatures, Features, One
from saelab.interop.exporting import export_features, export_saes, holds_features
from saelab.interop.feature_formats import FEATURE_FORMATS
from saelab.interop.formats import FORMATS
from saelab.interop.importing import detected, import_saes

__all__ = [
    "FEATURE_FORMATS",
    "FORMATS",
    "Converted",
    "ConvertedFeatures",
    "Features",
    "One",
    "detected",
    "export_features",
    "export_saes",
    "holds_features",
    "import_saes",
]
