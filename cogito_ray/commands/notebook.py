"""cogito-ray notebook: every sweep, run and plan on one page."""

import cogito_ray as cr
from cogito_ray.commands.shared_options import RUNS, Storage, app
from cogito_ray.display.console import out


@app.command(epilog="Example: cogito-ray notebook --storage runs")
def notebook(storage: Storage = RUNS) -> None:
    """Write notebook.md: what every sweep, run and plan asked, what came out, and which numbers may be compared."""
    out.print(str(cr.notebook(storage)))
