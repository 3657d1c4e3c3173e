"""The command line's entry. 0 = done, 1 = a run failed, 2 = a file or a request is at fault."""

import json
import sys
from typing import NoReturn

from pydantic import ValidationError

from cogito_ray.atomic_files import explain_os_error
from cogito_ray.commands import (  # noqa: F401  (each adds itself to app)
    analyse,
    check,
    evaluate,
    export,
    notebook,
    prepare,
    promote,
    publish,
    report,
    sweep,
    train,
    verify,
)
from cogito_ray.commands.app import UsageError, app
from cogito_ray.display.console import err
from cogito_ray.sweeps.yaml_io.validation_messages import SweepFault, explain


def main() -> None:
    """Run the command line; faults of the user's are said in full and without a traceback, with --json also as JSON."""
    as_json = "--json" in sys.argv[1:]
    try:
        sys.exit(app(standalone_mode=not as_json) or 0)
    except SweepFault as fault:
        _refuse(str(fault), fault.faults, as_json=as_json, file=str(fault.file))
    except ValidationError as fault:
        _refuse(told := "\n".join(explain(fault)), told.splitlines(), as_json=as_json)
    except OSError as fault:
        _refuse(told := explain_os_error(fault), [told], as_json=as_json)
    except ValueError as fault:
        _refuse(str(fault), str(fault).splitlines(), as_json=as_json)
    except UsageError as fault:
        _refuse(told := fault.format_message().replace("Value error, ", ""), [told], as_json=as_json)


def _refuse(told: str, faults: list[str], *, as_json: bool, file: str | None = None) -> NoReturn:
    err.print(told)
    if as_json:
        print(json.dumps({"file": file, "faults": faults}))
    sys.exit(2)


if __name__ == "__main__":
    main()
