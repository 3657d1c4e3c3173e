"""The command line's entry. 0 = done, 1 = a run failed, 2 = a file or a request is at fault."""

import sys

from pydantic import ValidationError

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
from cogito_ray.commands.app import app, err
from cogito_ray.files import explain_os_error
from cogito_ray.sweeps.explain import explain


def main() -> None:
    """Run the command line; faults of the user's are said in full and without a traceback."""
    try:
        app()
    except ValidationError as fault:
        err.print("\n".join(explain(fault)))
        sys.exit(2)
    except OSError as fault:
        err.print(explain_os_error(fault))
        sys.exit(2)
    except ValueError as fault:
        err.print(str(fault))
        sys.exit(2)


if __name__ == "__main__":
    main()
