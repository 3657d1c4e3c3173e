"""Code outside the package that settings name, so that its kinds are known: `plugins: [my_package, ./my_losses.py]`.

Whoever reads a run imports its plugins first: a driver, a worker, an evaluation. Ledgers keep their names and a digest
of their source.
"""

import hashlib
import importlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType
from typing import Annotated, TypeVar

from pydantic import AfterValidator, ModelWrapValidatorHandler, PydanticUserError

from cogito_ray.base_spec import Spec, brief
from cogito_ray.spec_registry import registered, withdraw

AnySpec = TypeVar("AnySpec", bound=Spec)
NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
FAILURES = (ImportError, SyntaxError, NameError, AttributeError, TypeError, LookupError, ArithmeticError, ValueError,
            AssertionError, OSError, PydanticUserError)  # fmt: skip
"""What an import of code that is at fault ends with."""
_loaded: dict[str, tuple[str, str]] = {}
"""Name of the module, and digest of its source, by reference."""


def absolute(reference: str) -> str:
    """A file's path in full, so that workers find it; the name of a module as it is. ValueError if it is neither."""
    if reference.endswith(".py"):
        return str(Path(reference).absolute())
    if not NAME.fullmatch(reference):
        raise ValueError(f"{brief(reference)} is no module; write its name, such as my_package, or a file: ./mine.py")
    return reference


Reference = Annotated[str, AfterValidator(absolute)]


def load(references: object) -> bool:
    """Import what was not yet, or has changed; was there any such? Raises ValueError with all that cannot be imported.

    What is no list of texts is left to those who validate the settings.
    """
    before, faults = dict(_loaded), []
    for number, reference in enumerate(references if isinstance(references, list | tuple) else ()):
        if isinstance(reference, str):
            try:
                _load(absolute(reference))
            except ValueError as error:
                faults.append(f"plugins.{number}: {error}")
    if faults:
        raise ValueError("\n".join(faults))
    return _loaded != before


def importing(cls: type[AnySpec], given: object, validate: ModelWrapValidatorHandler[AnySpec]) -> AnySpec:
    """Validator of settings that name their plugins: the rest is read with kinds of theirs."""
    if isinstance(given, dict) and load(given.get("plugins")):
        return cls.model_validate(given)
    return validate(given)


def loaded() -> tuple[str, ...]:
    """References of all plugins that this process has imported."""
    return tuple(_loaded)


def unload() -> None:
    """Take back all that was imported here, with its kinds."""
    for name, _ in _loaded.values():
        _forget(name)
        sys.modules.pop(name, None)
    _loaded.clear()


def paths() -> list[str]:
    """Files and folders of loaded plugins that are not installed, for machines that do not have them."""
    places = dict.fromkeys(_source(name) for name, _ in _loaded.values())
    return [str(place) for place in places if "site-packages" not in place.parts]


def digests(references: Iterable[str]) -> dict[str, str]:
    """Twelve hex digits of each plugin's source, by the name of its module."""
    return {_loaded[one][0]: _loaded[one][1] for one in references if one in _loaded}


def used_by(spec: Spec) -> list[str]:
    """References of the plugins whose kinds these settings hold."""
    if not _loaded:     # as in almost every process: settings are walked through for nothing
        return []
    modules = {type(part).__module__ for part in parts(spec)}
    return [
        reference
        for reference, (name, _) in _loaded.items()
        if any(f"{module}.".startswith(f"{name}.") for module in modules)
    ]


def undeclared(spec: Spec, declared: Sequence[str]) -> list[str]:
    """What is wrong where settings hold kinds of a plugin that they do not name."""
    names = {_loaded[one][0] for one in declared if one in _loaded}
    return [
        f"plugins: lacks {reference}, whose kinds are used; add it"
        for reference in used_by(spec)
        if _loaded[reference][0] not in names
    ]


def _load(reference: str) -> None:
    path = Path(reference)
    name = path.stem if reference.endswith(".py") else reference
    if reference.endswith(".py") and path.is_file():
        _load_file(path, name)
    else:
        if reference != name and name not in sys.modules and importlib.util.find_spec(name) is None:
            raise ValueError(f"{reference} is no file on this machine; put it back, or name where it is now")
        _run(reference, name, lambda: importlib.import_module(name))    # a file may have been sent here, or moved
    _loaded[reference] = (name, _digest(_source(name)))


def _load_file(path: Path, name: str) -> None:
    """Execute it as a module, unless that was done and it has not changed since."""
    there = sys.modules.get(name)
    if there is not None and Path(there.__file__ or "").absolute() != path:
        raise ValueError(f"{path}: another module called {name} is loaded already ({there.__file__}); rename the file")
    known = _loaded.get(str(path))
    if there is not None and (known is None or known[1] == _digest(path)):
        return
    _forget(name)
    spec = importlib.util.spec_from_file_location(name, path, loader=_FromSource(name, str(path)))
    assert spec is not None
    assert spec.loader is not None
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    _run(str(path), name, partial(spec.loader.exec_module, module))


class _FromSource(SourceFileLoader):
    """Takes no byte code for source: the two are matched by size and second, which an edit may leave as they are."""

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)


def _run(reference: str, name: str, execute: Callable[[], object]) -> None:
    """Nothing of code that fails stays registered. Raises ValueError with its own line that failed."""
    try:
        execute()
    except FAILURES as error:
        _forget(name)
        sys.modules.pop(name, None)
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if Path(frame.filename).stem == name.rpartition(".")[2]]
        where = f" (line {own[-1].lineno} of {own[-1].filename})" if own else ""
        said = f"{type(error).__name__}: " if not isinstance(error, ImportError | ValueError) else ""
        raise ValueError(f"{reference} cannot be imported: {said}{error}{where}") from error


def _forget(name: str) -> None:
    for spec in registered():
        if f"{spec.__module__}.".startswith(f"{name}."):
            withdraw(spec)


def _source(name: str) -> Path:
    """The file of a module, or the folder of a package."""
    file = Path(sys.modules[name].__file__ or ".")
    return file.parent if file.name == "__init__.py" else file


def _digest(source: Path) -> str:
    whole = hashlib.sha256()
    for file in sorted(source.rglob("*.py")) if source.is_dir() else [source]:
        whole.update(file.read_bytes())
    return whole.hexdigest()[:12]


def parts(part: object) -> Iterator[Spec]:
    """Every Spec in settings."""
    if isinstance(part, Spec):
        yield part
        part = [getattr(part, name) for name in type(part).model_fields]
    if isinstance(part, dict | list | tuple):
        for inner in part.values() if isinstance(part, dict) else part:
            yield from parts(inner)
