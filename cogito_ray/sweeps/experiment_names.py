"""Names of sweeps and runs, each of which is a folder in the storage, beside what the storage keeps for itself."""

from typing import Annotated

from pydantic import AfterValidator

from cogito_ray.base_spec import Worded

TEXT = ("tokens", "tokenizers", "corpora", "documents")
"""Where a storage has what runs read."""
RESERVED = frozenset({*TEXT, "verify", "notebook", "notebook.md", "notebook.html", "notebook.parquet"})
"""What the storage itself has at its top."""
RULE = Worded(
    "[A-Za-z0-9][A-Za-z0-9._-]{0,63}", "a name has 1 to 64 letters, digits, '.', '_' and '-', and begins with no sign"
)


def folder_name(name: str) -> str:
    """`name`; ValueError where no sweep or run may be called so."""
    if RULE.check(name).lower() in RESERVED:
        raise ValueError(f"the storage itself has {', '.join(sorted(RESERVED))}; choose another name than {name}")
    return name


FolderName = Annotated[str, RULE, AfterValidator(folder_name)]
