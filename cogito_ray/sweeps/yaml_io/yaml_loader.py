"""Sweeps and runs from YAML files, faults with their lines."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, TypeVar

from pydantic import ValidationError
from pydantic_core import PydanticSerializationError, to_jsonable_python

from cogito_ray.base_spec import Spec
from cogito_ray.run_spec import RunSpec
from cogito_ray.sweeps.space.dotted_paths import Tree
from cogito_ray.sweeps.space.validation_messages import SweepFault, explain
from cogito_ray.sweeps.sweep_spec import SweepSpec
from cogito_ray.sweeps.sweep_validation import gate_faults
from cogito_ray.sweeps.yaml_io.overrides import overridden
from cogito_ray.sweeps.yaml_io.yaml_composition import ONLY_OF_SWEEPS, Composed, compose, compose_mapping

AnySpec = TypeVar("AnySpec", bound=Spec)
STAND_INS: Tree = {"name": "unnamed", "goals": [], "budget": {"trials": 1}}
"""For parts that no sweep can do without, while others are looked at."""
INHERITED = " of "
"""In the origin of what stands in a file that is extended."""
IN_NO_FILE = Path("these settings")
"""What a mapping that stands in no file is called."""
Overrides: TypeAlias = Sequence[str] | Mapping[str, object]
"""`training.steps=50` each, or values by such paths."""


@dataclass(frozen=True)
class Document:
    """What a file says, with what it extends and what was overridden, read once."""

    file: Path
    composed: Composed

    @classmethod
    def read(cls, file: Path, overrides: Overrides = ()) -> "Document":
        """Raises SweepFault."""
        return cls(file, overridden(file, compose(file), _arguments(overrides)))

    @classmethod
    def of(cls, settings: Path | str | Mapping[str, object] | Spec, overrides: Overrides = ()) -> "Document":
        """The same for settings that may stand in no file. Raises SweepFault."""
        if isinstance(settings, Path | str):
            return cls.read(Path(settings), overrides)
        return cls.inside(IN_NO_FILE, settings, overrides)

    @classmethod
    def inside(cls, file: Path, settings: Mapping[str, object] | Spec, overrides: Overrides = ()) -> "Document":
        """Settings that stand somewhere in `file`, or in none: what they extend is found from its folder."""
        tree = settings.model_dump(mode="json") if isinstance(settings, Spec) else settings
        try:
            text = json.dumps(to_jsonable_python(tree))
        except PydanticSerializationError as fault:
            raise SweepFault(file, [str(fault)]) from None
        return cls(file, overridden(file, compose_mapping(text, file), _arguments(overrides)))

    def sweep(self) -> SweepSpec:
        """Raises SweepFault."""
        return self.validated(SweepSpec)

    def run(self) -> RunSpec:
        """Raises SweepFault."""
        run = self.validated(RunSpec)
        if faults := list(gate_faults(run)):
            raise self.refused(faults)
        return run

    def either(self) -> SweepSpec | RunSpec:
        """A sweep if it has any part that no run has. Raises SweepFault."""
        return self.sweep() if self.composed.is_sweep else self.run()

    def overridden(self, sweep: SweepSpec) -> Iterator[str]:
        """What the file itself, and not one that it extends, says of its base run although no trial has it."""
        if sweep.simplify is not None:    # which takes the winner's settings back to what stands here
            return
        for path, axis in sweep.search_space.overridden().items():
            place = f"run.{path}"
            if INHERITED not in (origin := self.composed.origins.get(place, INHERITED)):
                at = f" ({origin})" if origin else ""
                yield f"{place}: no trial has what stands here, for space.{axis} sets it in each; leave it out{at}"

    def refused(self, faults: Iterable[str]) -> SweepFault:
        """What is wrong with it, `place: fault` each, with where that place was written."""
        return SweepFault(self.file, [self._with_origin(fault) for fault in dict.fromkeys(faults)])

    def validated(self, kind: type[AnySpec]) -> AnySpec:
        """What it says, as settings of this kind. Raises SweepFault."""
        tree = self.composed.tree
        try:
            return kind.model_validate(tree)
        except ValidationError as error:
            faulty = {str(fault["loc"][0]) for fault in error.errors() if fault["loc"]}
            further = _further(tree, faulty) if faulty and kind is SweepSpec else []
            raise self.refused([*explain(error, tree, kind), *further]) from None

    def _with_origin(self, fault: str) -> str:
        """A fault that names a place in a run stands in a sweep's file below `run`."""
        for place in (re.split(ends, fault, maxsplit=1)[0] for ends in ("[:=]", " ")):
            inside = [] if re.split("[.:]", place)[0] in ONLY_OF_SWEEPS else [(f"run.{place}", f"run.{fault}")]
            for found, told in ((place, fault), *inside):
                if (origin := self.composed.origin(found)) is not None:
                    return f"{told} ({origin})" if origin else told
        return fault


def _arguments(overrides: Overrides) -> Sequence[str]:
    """As on the command line. JSON is YAML that reads text as text, also where it looks like a number."""
    if not isinstance(overrides, Mapping):
        return overrides
    return [f"{path}={json.dumps(to_jsonable_python(value))}" for path, value in overrides.items()]


def load(path: Path | str, overrides: Overrides = ()) -> SweepSpec:
    """The sweep that a YAML file says, with these settings changed. Raises SweepFault."""
    return Document.read(Path(path), overrides).sweep()


def load_run(path: Path | str, overrides: Overrides = ()) -> RunSpec:
    """The run that a YAML file says, with these settings changed. Raises SweepFault."""
    return Document.read(Path(path), overrides).run()


def _further(tree: Tree, faulty: set[str]) -> list[str]:
    """What would be told of a sweep next, once its faulty parts were mended: here they are left out."""
    rest = STAND_INS | {name: part for name, part in tree.items() if name not in faulty}
    try:
        SweepSpec.model_validate(rest)
    except ValidationError as error:
        depend = faulty | ({"budget"} if "search" in faulty else set())  # a grid says how many trials there are
        return [line for line in explain(error, rest, SweepSpec) if re.split(r"[:.]", line)[0] not in depend]
    return []
