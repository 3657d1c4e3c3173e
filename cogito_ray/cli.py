"""The command line's entry. 0 = done, 1 = a run failed, 2 = a file or a request is at fault."""

import json
import sys
from typing import NoReturn

from cogito_ray.atomic_files import explain_os_error
from cogito_ray.commands import analyse, check, cluster, control, evaluate, export, fill, plan, report, sweep, train  # noqa: F401
from cogito_ray.commands.shared_options import UsageError, app
from cogito_ray.display.console import err


def main() -> None:
    """Run the command line; faults of the user's are said in full and without a traceback, with --json also as JSON."""
    as_json = "--json" in sys.argv[1:]
    try:
        sys.exit(app(standalone_mode=not as_json) or 0)
    except OSError as fault:
        _refuse(told := explain_os_error(fault), [told], as_json=as_json)
    except ValueError as fault:
        _refuse(*_told(fault), as_json=as_json)
    except UsageError as fault:
        _refuse(told := fault.format_message().replace("Value error, ", ""), [told], as_json=as_json)


def _told(fault: ValueError) -> tuple[str, list[str], str | None]:
    """What is said of it, its faults one by one, and the file that they stand in."""
    from pydantic import ValidationError

    from cogito_ray.sweeps.space.validation_messages import SweepFault, explain

    if isinstance(fault, SweepFault):
        return str(fault), fault.faults, str(fault.file)
    said = "\n".join(explain(fault)) if isinstance(fault, ValidationError) else str(fault)
    return said, said.splitlines(), None


def _refuse(told: str, faults: list[str], file: str | None = None, *, as_json: bool) -> NoReturn:
    err.print(told)
    if as_json:
        print(json.dumps({"file": file, "faults": faults}))
    sys.exit(2)
