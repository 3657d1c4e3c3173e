"""What must be the same in every trial for a metric (or a family of them) to rank trials.

Runs are compared as trees, with every setting written out, for that is what a record holds of them: whoever reads one
needs no model's code.
"""

from pydantic import JsonValue

from cogito_ray.sweeps.space.dotted_paths import Tree, get

SOURCES, PACKING, EVALUATION = "data.sources", "data.held_out_packing", "evaluation"
SAME_ROWS = (SOURCES, "data.tokenizer", "data.length", "data.held_out", PACKING, EVALUATION)
SAME_TASK = ("model.decoder", "objective.kind")
SAME_LOSS = ("objective", "loss")
MUST_AGREE: dict[str, tuple[str, ...]] = {
    "loss/": (*SAME_ROWS, "data.packing", *SAME_TASK, *SAME_LOSS),
    "eval/reconstruction_nats": (*SAME_ROWS, *SAME_TASK),
    "eval/shuffled_reconstruction_nats": (*SAME_ROWS, *SAME_TASK),
    "eval/word_": SAME_ROWS,
    "eval/stsb_": (EVALUATION,),
    "analysis/": (SOURCES, "data.held_out", EVALUATION),
    "concepts/": (SOURCES, "data.held_out", EVALUATION),  # the same text
}
"""Family of metrics -> dotted places of a run."""


def asked_at(run: Tree, place: str) -> JsonValue:
    """What a run has at one of these places, as far as metrics depend on it."""
    found = get(run, place)
    if place == SOURCES and isinstance(found, dict):  # of held-out rows all sources give the same number
        return {name: _without(source, "weight") for name, source in found.items()}
    if place == PACKING:    # null, or not there in what an earlier version wrote: as the others
        data = get(run, "data")
        return (data.get("held_out_packing") or data.get("packing")) if isinstance(data, dict) else None
    return _without(found, "labelled") if place == EVALUATION else found


def _without(tree: JsonValue, key: str) -> JsonValue:
    return {name: part for name, part in tree.items() if name != key} if isinstance(tree, dict) else tree
