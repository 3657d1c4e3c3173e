"""A plan as its ledger tells it: every phase once, however often the plan was taken up again. Pure."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cogito_ray.gate_spec import Condition
from cogito_ray.records.ledger import COMPLETE, Commented, Event, Figures, LedgerFault, events

from cogito_ray.records.ledger import PhaseEnded, PhaseStarted, PlanOpened, SweepClosed  # isort: skip
from cogito_ray.sweeps.space.dotted_paths import Tree, get

NAME = "plan.jsonl"
SIGNS = {"complete": "✓", "running": "▶", "failed": "✗", "refused": "⊘", "skipped": "–", "waiting": "·"}
SHOWN = ("eval/reconstruction", "eval/word_content", "concepts/", "labelled/", "forecast/", "proxy/", "cosine_mean")


@dataclass
class PlanRecord:
    """What happened in a plan so far."""

    openings: list[PlanOpened] = field(default_factory=list)
    started: dict[str, PhaseStarted] = field(default_factory=dict)
    ended: dict[str, PhaseEnded] = field(default_factory=dict)
    closing: SweepClosed | None = None
    comments: list[Commented] = field(default_factory=list)
    """What people wrote about it."""

    def add(self, event: Event) -> None:
        """What happened next. An opening asks anew for what failed, was refused or skipped."""
        match event:
            case PlanOpened():
                self.openings.append(event)
                self.closing = None
                for name in [name for name, phase in self.ended.items() if phase.state != "complete"]:
                    del self.ended[name]
                    self.started.pop(name, None)
            case PhaseStarted():
                self.started[event.phase] = event
            case PhaseEnded():
                self.ended[event.phase] = event
            case SweepClosed():
                self.closing = event
            case Commented():
                self.comments.append(event)

    def state(self, name: str) -> str:
        """Of a phase."""
        return self.ended[name].state if name in self.ended else "running" if name in self.started else "waiting"

    def figures(self, name: str) -> Figures:
        """Of a phase's best runs, as far as it is complete."""
        return self.ended[name].figures if name in self.ended else {}

    @property
    def is_complete(self) -> bool:
        """Is nothing left to do?"""
        return self.closing is not None and self.closing.cause == COMPLETE

    @property
    def spec(self) -> Tree:
        """The PlanSpec, as it was last."""
        return self.openings[-1].spec

    @property
    def phases(self) -> Tree:
        """Specs by name."""
        return phases if isinstance(phases := self.spec.get("phases"), dict) else {}

    @property
    def standing(self) -> str:
        """How it ended, or that it has not."""
        return self.closing.cause if self.closing else "under way, or its driver was killed"

    @property
    def summary(self) -> dict[str, object]:
        """For scripts."""
        return {"state": self.standing, "phases": {name: self.state(name) for name in self.phases}}

    @property
    def counts(self) -> str:
        """Of phases by their state."""
        states = Counter(map(self.state, self.phases))
        return f"{len(self.phases)} phases: {', '.join(f'{count} {state}' for state, count in states.items())}"


def read(folder: Path) -> PlanRecord:
    """Of the plan in a folder. Raises LedgerFault where it is damaged, FileNotFoundError where there is none."""
    record = PlanRecord()
    for event in events(folder / NAME):
        record.add(event)
    if not record.openings:
        raise LedgerFault(f"{folder / NAME}: no plan was opened in it, or its first line was lost")
    return record


def found(storage: Path, named: Path | str | None = None) -> dict[Path, PlanRecord]:
    """All plans below a storage; or that one which is `named`, by its folder or by its name there, if it is a plan."""
    folders = [Path(named), storage / named] if named else [file.parent for file in sorted(storage.glob(f"*/{NAME}"))]
    return {folder: read(folder) for folder in folders if (folder / NAME).is_file()}


def lines(record: PlanRecord) -> list[str]:
    """The plan as a tree: every phase below the first that it comes after, with its state, why, and first figures."""
    size = f" ({size})" if (size := record.spec.get("size")) else ""
    below: dict[str, list[str]] = {}
    for name, phase in record.phases.items():
        below.setdefault(next(_parents(phase if isinstance(phase, dict) else {}), ""), []).append(name)

    def under(parent: str, depth: int) -> Iterator[str]:
        for name in below.get(parent, ()):
            indent, kind = "    " * depth, get(record.spec, ("phases", name, "kind"))
            yield f"{indent}{SIGNS[record.state(name)]} {name} ({kind}): {record.state(name)}"
            yield from (f"{indent}    {said}" for said in told(record, name))
            yield from under(name, depth + 1)

    return [f"{record.spec.get('name')}{size}: {record.standing}", *under("", 0)]


def told(record: PlanRecord, name: str) -> list[str]:
    """Why a phase is as it is, and the first figures of its best run."""
    why = [event.why for event in (record.started.get(name), record.ended.get(name)) if event and event.why]
    first = next(iter(record.figures(name).values()), {})
    known = [figure for beginning in SHOWN for figure in first if figure.startswith(beginning)] or list(first)
    return [*why, *([", ".join(f"{figure} {first[figure]:.4g}" for figure in known[:4])] if known else [])]


def _parents(phase: Tree) -> Iterator[str]:
    after = phase.get("after")
    named = [*(after if isinstance(after, list) else []), phase.get("of"), phase.get("else")]
    asked = Condition(condition).metrics if isinstance(condition := phase.get("if"), str) else ()
    named += [get(phase, "start_from.phase"), *(name.partition(".")[0] for name in asked)]
    yield from (one for one in named if isinstance(one, str))
