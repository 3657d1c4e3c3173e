"""The winner's run as a file for `cogito-ray train`, in its sweep's folder."""

import copy
from pathlib import Path

from cogito_ray.atomic_files import atomic_write_text
from cogito_ray.records.ledger import IDLE
from cogito_ray.records.results.trial_ranking import Row, figures, rank
from cogito_ray.records.sweep_record import Record
from cogito_ray.sweeps.space.dotted_paths import put
from cogito_ray.sweeps.yaml_io.yaml_writer import dump

FILE = "winner.yaml"
SIMPLIFIED = "simplified.yaml"
"""The same without the settings that were found not to be needed, where it was tried so."""


def write(record: Record, folder: Path) -> None:
    """Make `<folder>/winner.yaml`, or take away the one of before, where no trial is the winner any more."""
    winner = rank(record).winner
    if winner is None:
        (folder / FILE).unlink(missing_ok=True)
    else:
        spec = record.trials[winner.trial].spec
        atomic_write_text(folder / FILE, _introduced(winner, record) + dump(spec))
        if idle := [one for one in record.ablations if one.trial == winner.trial and one.verdict == IDLE]:
            simplest, spec = max(idle, key=lambda one: len(one.changes)), copy.deepcopy(spec)
            for path, value in simplest.changes.items():
                put(spec, path, value)
            said = f"# {' '.join(simplest.text.split())}\n"
            atomic_write_text(folder / SIMPLIFIED, _introduced(winner, record) + said + dump(spec))


def _introduced(winner: Row, record: Record) -> str:
    """Comments that say whose run it is, and how sure that is."""
    name = " ".join(str(record.opened.spec.get("name", "")).split())
    lines = [f"trial {winner.number} of {name}: " + ", ".join(f"{m} {figures(v)}" for m, v in winner.values.items())]
    if winner.further:
        lines.append(f"{winner.further[0]} of {winner.further[1]} further runs with other seeds ended in order")
    return "".join(f"# {line}\n" for line in [*lines, *filter(None, [" ".join(winner.note.split())])])
