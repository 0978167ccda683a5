"""Other libraries' SAEs, in and out: `import_saes`, `export_saes`, and `FORMATS`, the list of what is read and written.

What decides an SAE's arithmetic (whether b_dec is taken off the input, what is folded, how weights lie) is converted,
and what was converted is said. A file that does not say is refused, not guessed.
"""

from saelab.interop.converted import Converted, One
from saelab.interop.exporting import export_saes
from saelab.interop.formats import FORMATS
from saelab.interop.importing import detected, import_saes

__all__ = ["FORMATS", "Converted", "One", "detected", "export_saes", "import_saes"]
