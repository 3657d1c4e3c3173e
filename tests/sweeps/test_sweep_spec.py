"""Sweeps: trials, corners, cells and corpora of a space, and what is refused before anything starts."""

import copy
import itertools
import json
import re
from pathlib import Path
from typing import Literal

import pytest
from pydantic import ValidationError

from cogito_ray.base_spec import Spec
from cogito_ray.run_spec import RunSpec
from cogito_ray.sweeps.space.dotted_paths import put
from cogito_ray.sweeps.space.space_points import FEW
from cogito_ray.sweeps.space.valid_points import tried_in_all
from cogito_ray.sweeps.space.validation_messages import SweepFault, explain
from cogito_ray.sweeps.sweep_spec import SweepSpec
from cogito_ray.sweeps.yaml_io.yaml_loader import Document, load
from cogito_ray.text.data_spec import corpus_key
from cogito_ray.text.shards.row_packing import PACKERS

BASE = {
    "name": "tiny",
    "run": {
        "data": {
            "sources": {
                "library": {"kind": "python-docs", "part": "library", "weight": 2},
                "packages": {"kind": "python-docs", "part": "packages"},
            },
            "length": 32,
        },
        "model": {"width": 64, "heads": 4, "concepts": 8, "decoder": {"kind": "position"}},
        "objective": {"kind": "tsdae"},
        "loss": {"regularisers": [{"kind": "variance"}]},
        "training": {"steps": 100, "batch": 8},
    },
    "space": {"objective.rate": {"uniform": [0.3, 0.9]}},
    "goals": [{"metric": "eval/reconstruction_nats", "mode": "min"}],
    "budget": {"trials": 6},
}


NATS = {"metric": "eval/reconstruction_nats", "mode": "min"}
RANK = {"metric": "concepts/effective_rank", "mode": "max"}
GATE = {"if": "concepts/effective_rank > 3", "then": "try slot attention"}


def sweep(**changes):
    """BASE with dotted paths replaced; `__` stands for a dot, and `space` is replaced as a whole."""
    tree = copy.deepcopy(BASE)
    for path, value in changes.items():
        put(tree, path.replace("__", "."), value)
    return SweepSpec.model_validate(tree)


def faults(**changes):
    with pytest.raises(ValidationError) as error:
        sweep(**changes)
    return [line for fault in explain(error.value) for line in fault.splitlines()]


def test_a_trial_is_the_run_with_the_sample_written_into_it():
    space = {"objective.rate": {"uniform": [0.3, 0.9]}, "loss.weighting.weights.variance": {"choice": [0.5]}}
    spec = sweep(space=space)
    run = spec.trial({"objective.rate": 0.4, "loss.weighting.weights.variance": 0.5})
    assert run.objective.rate == 0.4
    assert run.loss.weighting.weights == {"variance": 0.5}
    assert spec.run == BASE["run"]


class Inner(Spec):
    kind: Literal["inner"] = "inner"
    size: int = 3


class InnerLater(Inner):
    speed: float = 1.0


class Other(Spec):
    kind: Literal["other"] = "other"
    size: int = 3


class Whole(Spec):
    part: Inner | InnerLater | Other
    parts: tuple[Inner | InnerLater | Other, ...] = ()
    named: dict[str, Inner | InnerLater | Other] = {}


def test_a_setting_that_a_later_version_adds_renames_nothing_unless_it_is_set():
    for whole in (
        lambda part: Whole(part=part),
        lambda part: Whole(part=Inner(), parts=(part,)),
        lambda part: Whole(part=Inner(), named={"a": part}),
    ):
        assert whole(Inner(size=4)).digest() == whole(InnerLater(size=4)).digest()
        assert whole(Inner(size=4)).digest() != whole(InnerLater(size=4, speed=2.0)).digest()
        assert whole(Inner()).digest() != whole(Other()).digest()  # equal settings of another kind


class RunLater(RunSpec):
    patience: int = 3


def test_who_is_told_of_a_run_or_sweep_renames_neither():
    run = RunSpec.model_validate(BASE["run"])
    assert RunSpec.model_validate(BASE["run"] | {"gates": [GATE]}).digest() == run.digest()
    assert run.model_copy(update={"track": ("wandb",)}).digest() == run.digest()
    assert sweep(track=["mlflow"]).identity() == sweep().identity()


def test_trackers_and_gates_of_a_sweeps_run_are_refused():
    assert "run.track: belongs to a sweep as a whole; write it beside `run`" in faults(run__track=["wandb"])
    assert "run.gates: belongs to a sweep as a whole; write it beside `run`" in faults(run__gates=[GATE])


def test_a_gate_over_what_no_run_reports_is_refused_where_it_stands():
    gates, told = [GATE | {"if": "concepts/efective_rank > 3"}], "if: no run reports concepts/efective_rank; did you"
    found = faults(gates=gates, promote={"with": {"training.steps": 200}, "gates": gates})
    assert [line.partition(told)[0] for line in found] == ["gates.0.", "promote.gates.0."]
    with pytest.raises(SweepFault, match=re.escape(f"gates.0.{told}")):
        Document.of(BASE["run"] | {"gates": gates}).run()


def test_a_setting_that_a_later_version_adds_renames_no_run_unless_it_is_set():
    tree = sweep().trial({"objective.rate": 0.4}).model_dump(mode="json")
    assert RunLater.model_validate(tree).digest() == RunSpec.model_validate(tree).digest()
    assert RunLater.model_validate(tree | {"patience": 4}).digest() != RunSpec.model_validate(tree).digest()


def test_no_two_values_of_any_axis_of_a_shipped_sweep_share_a_name():
    for file in sorted((Path(__file__).parents[2] / "search_spaces").glob("*.yaml")):
        spec = load(file)
        runs = [spec.trial(corner) for corner in spec.search_space.corners()]
        trees = {json.dumps(run.model_dump(mode="json"), sort_keys=True) for run in runs}
        assert len({run.digest() for run in runs}) == len(trees)


def test_equal_samples_make_runs_of_equal_digest_and_others_do_not():
    spec = sweep()
    digests = [spec.trial({"objective.rate": rate}).digest() for rate in (0.4, 0.4, 0.5)]
    assert digests[0] == digests[1] != digests[2]


def test_an_axis_inside_a_preset_is_written_after_it_in_whatever_order_they_stand():
    space = {
        "model.decoder.depth": {"choice": [3, 5]},
        "model.decoder": {"preset": {"plain": {"kind": "position"}}},
    }
    spec = sweep(space=space, goals=[{"metric": "concepts/effective_rank", "mode": "max"}])
    assert spec.trial({"model.decoder": "plain", "model.decoder.depth": 5}).model.decoder.depth == 5


def test_an_axis_inside_a_preset_leaves_the_preset_as_it_was_written_for_other_trials():
    space = {
        "objective": {"preset": {"often": {"kind": "tsdae", "rate": 0.6}}},
        "objective.rate": {"choice": [0.3, 0.9], "when": {"model.concepts": 8}},
        "model.concepts": {"choice": [8, 16]},
    }
    spec = sweep(space=space)
    assert spec.trial({"objective": "often", "objective.rate": 0.3, "model.concepts": 8}).objective.rate == 0.3
    assert spec.trial({"objective": "often", "model.concepts": 16}).objective.rate == 0.6


def test_a_ratio_follows_a_varying_width_and_is_rounded_where_a_whole_number_is_wanted():
    space = {
        "model.token_width": {"ratio": {"of": "model.width", "choice": [0.26]}},
        "model.width": {"choice": [64, 128]},
    }
    spec = sweep(space=space)
    widths = [spec.trial({"model.width": w, "model.token_width": 0.26}).model.token_width for w in (64, 128)]
    assert widths == [17, 33]


def test_a_ratio_of_a_setting_left_to_its_default_is_of_the_default():
    tree = copy.deepcopy(BASE)
    del tree["run"]["model"]["width"]
    tree["space"] = {"model.token_width": {"ratio": {"of": "model.width", "choice": [0.5]}}}
    run = SweepSpec.model_validate(tree).trial({"model.token_width": 0.5})
    assert run.model.token_width * 2 == run.model.width


def test_corners_hold_every_pair_of_extremes():
    space = {
        "objective.rate": {"uniform": [0.3, 0.9]},
        "model.concepts": {"choice": [4, 8, 12]},
        "training.optimizer.learning_rate": {"loguniform": [1e-3, 1e-2]},
    }
    corners = list(sweep(space=space).search_space.corners())
    for one, two in (("objective.rate", "model.concepts"), ("model.concepts", "training.optimizer.learning_rate")):
        assert len({(corner[one], corner[two]) for corner in corners}) == 6
    assert len(corners) == len({tuple(corner.items()) for corner in corners})


def test_grid_axes_are_crossed_and_the_others_left_to_the_sampler():
    space = {"model.concepts": {"grid": [4, 8]}, "seed": {"grid": [0, 1, 2]}, "objective.rate": {"uniform": [0.3, 0.9]}}
    spec = sweep(space=space)
    assert len(spec.search_space.grid_points()) == 6
    assert {"model.concepts": 8, "seed": 2} in spec.search_space.grid_points()
    assert list(spec.search_space.distributions()) == ["objective.rate"]


def test_a_sampler_is_written_as_its_kind_or_with_its_settings():
    bare, whole, other = (
        sweep(search={"sampler": written})
        for written in ("nsga2", {"kind": "nsga2"}, {"kind": "nsga2", "population_size": 9})
    )
    assert (bare, bare.identity()) == (whole, whole.identity())
    assert bare.identity() != other.identity()


def test_under_the_grid_sampler_every_axis_is_crossed():
    space = {"model.concepts": {"choice": [4, 8]}, "seed": {"randint": [0, 2]}}
    spec = sweep(space=space, search={"sampler": "grid"})
    assert len(spec.search_space.grid_points()) == 6
    assert spec.search_space.distributions() == {}


def test_corpora_are_listed_once_each_whatever_their_mixing_weights():
    space = {
        "data.length": {"choice": [16, 32]},
        "data.sources.library.weight": {"uniform": [0.5, 4.0]},
        "objective.rate": {"uniform": [0.3, 0.9]},
    }
    spec = sweep(space=space, goals=[{"metric": "concepts/effective_rank", "mode": "max"}])
    assert [data.length for data in spec.search_space.corpora()] == [16, 32]
    assert len(sweep().search_space.corpora()) == 1


def test_a_corpus_a_trial_reads_is_among_the_corpora():
    space = {
        "data.length": {"ratio": {"of": "model.concepts", "choice": [2, 4]}},
        "model.concepts": {"choice": [8, 16]},
    }
    spec = sweep(space=space, goals=[{"metric": "concepts/effective_rank", "mode": "max"}])
    known = {corpus_key(data) for data in spec.search_space.corpora()}
    assert {corpus_key(spec.trial(corner).data) for corner in spec.search_space.corners()} == known


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        (
            {"space": {"model.widht": {"choice": [64]}}},
            "space.model.widht: there is no such setting in a run; did you mean model.width",
        ),
        (
            {"space": {"model.heads": {"choice": [4, 5]}}},
            "space.model.heads=5: model: width 64 is not divisible by 5 heads",
        ),
        ({"run__model__decoder": None}, "run.model.decoder: nothing trains the encoder; set it, loss.contrast"),
        ({"run__training__steps": 0}, "run.training.steps: should be greater than 0; got 0"),
        (
            {"space": {"training.steps": {"uniform": [50, 90]}}},
            "space.training.steps: a whole number is wanted here; use randint or choice",
        ),
        ({"space": {"data.held_out": {"uniform": [0.1, 0.2]}}}, "space.data.held_out: each value makes a corpus"),
        (
            {"space": {"model.width": {"ratio": {"of": "model.size", "choice": [1]}}}},
            "space.model.width.ratio.of: model.size is no number of a run",
        ),
        (
            {"space": {"model.width": {"ratio": {"of": "model.token_width", "choice": [1]}}}},
            "run: a ratio is of model.token_width, which is None; set a number",
        ),
        ({"search": {"sampler": "grid"}}, "space.objective.rate: the grid sampler needs values it can list"),
        (
            {"space": {"seed": {"choice": [0, 1]}}, "search": {"sampler": "grid"}},
            "budget.trials: the grid has 2 points, got 6; write 2",
        ),
        ({"space": {"seed": {"grid": [0, 1]}}}, "search.sampler: tpe has nothing to draw"),
        (
            {"space": {"seed": {"grid": [0, 1, 2, 3]}, "objective.rate": {"uniform": [0.3, 0.9]}}},
            "budget.trials: the grids cross to 4 points, got 6 trials",
        ),
        ({"goals": []}, "goals: at least one is needed to rank by"),
        ({"goals": [NATS, NATS]}, "goals: eval/reconstruction_nats stands here more than once"),
        (
            {"goals": [NATS, RANK], "early_stopping": {"kind": "asha", "first_rung": 10}},
            "early_stopping.kind: asha compares by one goal, got 2; use pareto_asha",
        ),
        ({"goals": [NATS, RANK], "search": {"sampler": "cmaes"}}, "search.sampler: cmaes searches for one goal, got 2"),
        ({"search": {"sampler": "cmaes"}}, "search.sampler: cmaes needs at least 2 axes of numbers (no choice), got 1"),
        ({"constraints": {"eval/stsb": ">= 0.4"}}, "constraints.eval/stsb: no run reports eval/stsb"),
        ({"constraints": {"concepts/effective_rank": "near 3"}}, "constraints.concepts/effective_rank: 'near 3' is no"),
        ({"gates": [{"if": "concepts/rank < 3", "then": "no"}]}, "gates.0.if: no run reports concepts/rank"),
        (
            {"gates": [{"if": "labelled/stsb/probe/maen/pearson < 3", "then": "no"}]},
            "gates.0.if: there is no score labelled/stsb/probe/maen/pearson; did you mean labelled/stsb/probe/mean/",
        ),
        ({"goals": [{"metric": "labelled/stsb/probe/pearson", "mode": "max"}]}, "goals.0.metric: no run reports"),
        ({"gates": [{"if": "eval/nats ~ 3", "then": "no"}]}, "gates.0.if: 'eval/nats ~ 3' is no condition"),
        (
            {"search": {"start_with": [{"objective.rate": 0.99}]}},
            "search.start_with.0.objective.rate: 0.99 is not in its domain",
        ),
        ({"search": {"start_with": [{"seed": 1}]}}, "search.start_with.0.seed: no axis that is drawn; name one of obj"),
        (
            {"goals": [{"metric": "eval/reconstruction", "mode": "min"}]},
            "goals.0.metric: no run reports eval/reconstruction; did you mean eval/reconstruction_nats",
        ),
        (
            {"goals": [{"metric": "loss/total", "mode": "min"}]},
            "goals.0.metric: loss/total asks something else of each trial, because objective varies; rank by "
            "eval/reconstruction_nats",
        ),
        (
            {"space": {"data.length": {"choice": [16, 32]}}},
            "goals.0.metric: eval/reconstruction_nats asks something else of each trial, because data.length "
            "varies",
        ),
        (
            {"space": {"model.decoder.depth": {"choice": [1, 2]}}},
            "goals.0.metric: eval/reconstruction_nats asks something else of each trial, because model.decoder "
            "varies",
        ),
        (
            {"space": {"objective": {"preset": {"a": {"kind": "tsdae"}, "b": {"kind": "mlm"}}}}},
            "goals.0.metric: eval/reconstruction_nats asks something else of each trial, because "
            "objective.kind varies",
        ),
        (
            {"early_stopping": {"kind": "asha", "first_rung": 100}},
            "early_stopping.first_rung: 100 is not before the last step (100)",
        ),
        (
            {"space": {"training.steps": {"choice": [20, 100]}}, "early_stopping": {"kind": "asha", "first_rung": 30}},
            "early_stopping.first_rung: 30 is not before the last step (20)",
        ),
        (
            {"space": {"training.steps": {"choice": [50, 80.5]}}},
            "space.training.steps: a whole number is wanted here; use randint or choice",
        ),
        (
            {"search": {"sampler": "cmaes"}, "constraints": {"concepts/effective_rank": ">= 3"}},
            "search.sampler: cmaes knows no constraints",
        ),
        (
            {
                "search": {"sampler": "cmaes"},
                "space": {"model.concepts": {"choice": [4, 8]}, "objective.rate": {"uniform": [0.3, 0.9]}},
            },
            "search.sampler: cmaes needs at least 2 axes of numbers (no choice), got 1",
        ),
        ({"seeds": 1}, "seeds: a single further run shows no spread; write 2 or more"),
        ({"seeds": 2, "space": {"seed": {"randint": [0, 9]}}}, "seeds: space.seed varies the seed already"),
        ({"budget": {"trials": 6, "gpu_hours": 1}}, "budget.gpu_hours: no trial reserves a GPU"),
        (
            {"space": {"model.heads": {"choice": [4, 5]}}, "promote": {"with": {"training.steps": 500}}},
            "space.model.heads=5: model: width 64 is not divisible by 5 heads",
        ),
        (
            {"run__model__decoder": None, "run__loss": {"contrast": {"kind": "dropout"}}},
            "goals.0.metric: no run reports eval/reconstruction_nats",
        ),
        (
            {
                "run__loss": {"contrast": {"kind": "dropout"}},
                "space": {"model.decoder": {"preset": {"none": None, "places": {"kind": "position"}}}},
            },
            "goals.0.metric: only some trials report eval/reconstruction_nats; rank by what all report",
        ),
        *(
            (
                {"space": {axis: {"choice": values}}},
                f"goals.0.metric: eval/reconstruction_nats asks something else of each trial, because {what} varies",
            )
            for axis, values, what in (
                ("data.sources.library.part", ["library", "packages"], "data.sources"),
                ("data.held_out", [0.1, 0.2], "data.held_out"),
                ("data.packing", ["concatenate", "document"], "data.held_out_packing"),
                ("evaluation.rows", [16, 32], "evaluation"),
            )
        ),
        (
            {
                "space": {"loss.weighting.weights.variance": {"choice": [0.1, 0.2]}},
                "goals": [{"metric": "loss/total", "mode": "min"}],
            },
            "goals.0.metric: loss/total asks something else of each trial, because loss varies",
        ),
        (
            {"space": {"evaluation.rows": {"choice": [16, 32]}}, "goals": [RANK]},
            "goals.0.metric: concepts/effective_rank asks something else of each trial, because evaluation varies; fix",
        ),
        (
            {"space": {"data.sources.library.part": {"choice": ["library", "packages"]}}, "goals": [RANK]},
            "goals.0.metric: concepts/effective_rank asks something else of each trial, because data.sources varies; f",
        ),
        (
            {
                "run__loss": {},
                "space": {"loss.weighting": {"preset": {"c": {"kind": "capped"}, "f": {"kind": "fixed"}}}},
            },
            "space.loss.weighting.c: loss.weighting 'capped' limits regularisers, but loss.regularisers names none",
        ),
        (
            {"space": {"model.encoder": {"preset": {"a": {"depth": 1, "tied": True}, "b": {"depth": 2}}}}},
            "space.model.encoder.a: tied: with model.encoder.depth 1 there is one block only; leave it out",
        ),
        (
            {
                "run__loss": {"regularisers": [{"kind": "variance", "layers": "every"}]},
                "space": {"model.encoder.depth": {"choice": [1, 2]}},
            },
            "space.model.encoder.depth=1: loss.regularisers: with model.encoder.depth 1, layers 'every' of variance is",
        ),
        (
            {
                "run__model__decoder": None,
                "run__model__head": {"tied": False},
                "run__loss": {"contrast": {"kind": "dropout"}},
                "goals": [RANK],
            },
            "run.model.head: without model.decoder nothing is rebuilt; leave it out",
        ),
        (
            {
                "run__evaluation": {"stsb": "/stsb"},
                "space": {"evaluation.rows": {"choice": [16, 32]}},
                "goals": [{"metric": "eval/stsb_spearman_mean", "mode": "max"}],
            },
            "goals.0.metric: eval/stsb_spearman_mean asks something else of each trial, because evaluation varies; fix",
        ),
        ({"name": "../up"}, "name: '../up' does not fit: a name has 1 to 64 letters, digits, '.', '_' and '-'"),
    ],
)
def test_a_sweep_is_refused_with_its_place_its_value_and_a_way_out(changes, fault):
    found = faults(**changes)
    assert any(line.startswith(fault) for line in found), found


def test_how_sources_are_mixed_may_vary_for_all_are_evaluated_alike():
    space = {"data.sources.library.weight": {"uniform": [0.5, 4.0]}}
    assert sweep(space=space).goals[0].metric == NATS["metric"]


def test_packings_rank_by_held_out_rows_that_are_packed_alike_but_not_by_their_own_train_rows():
    compared = {"run__data__held_out_packing": "document", "space": {"data.packing": {"choice": list(PACKERS)}}}
    assert sweep(**compared).goals[0].metric == NATS["metric"]
    of_loss = faults(**compared, goals=[{"metric": "loss/total", "mode": "min"}])
    assert any("because data.packing varies" in fault for fault in of_loss)


def test_a_setting_that_is_a_number_of_tokens_here_and_a_share_there_may_be_a_share():
    space = {"objective.longest": {"uniform": [0.6, 0.9]}}
    prefix = {"kind": "prefix", "shortest": 0.1}
    assert sweep(space=space, run__objective=prefix).trial({"objective.longest": 0.7}).objective.longest == 0.7


def test_a_sweep_keeps_its_identity_whatever_is_spent_on_it_and_only_then():
    assert sweep(budget={"trials": 9, "wall": "1h"}, seeds=2, concurrency=3).identity() == sweep().identity()
    assert sweep(question="why?").identity() != sweep().identity()


def test_a_fault_that_takes_two_axes_names_both_and_is_told_once():
    space = {
        "model.concepts": {"choice": [8, 200]},
        "loss.regularisers": {"preset": {"none": [], "far": [{"kind": "orthogonality"}], "v": [{"kind": "vicreg"}]}},
        "objective.rate": {"uniform": [0.3, 0.9]},
    }
    (line,) = faults(space=space)
    assert line.startswith("space.model.concepts=200 with space.loss.regularisers.far: ")


def test_what_concepts_know_of_words_ranks_decoders_and_objectives_but_not_tokenizers():
    goals = [{"metric": "eval/word_content_auc", "mode": "max"}]
    space = {
        "model.decoder": {"preset": {"places": {"kind": "position"}, "deep": {"kind": "position", "depth": 3}}},
        "objective": {"preset": {"tsdae": {"kind": "tsdae"}, "mlm": {"kind": "mlm"}}},
    }
    (line,) = faults(space=space)
    assert line.endswith("rank by what is asked of the concepts themselves, such as eval/word_content_auc")
    assert sweep(space=space, goals=goals).goals[0].metric == "eval/word_content_auc"
    tokenizers = {"data.tokenizer": {"preset": {"few": {"kind": "bpe", "vocabulary": 512}, "many": {"kind": "bpe"}}}}
    (line,) = faults(space=tokenizers, goals=goals)
    assert line.endswith("because data.tokenizer varies; fix it under run")


def test_a_fault_of_a_preset_is_told_under_its_name():
    space = {"model.decoder": {"preset": {"reader": {"kind": "perceiver"}, "position": {"kind": "position"}}}}
    (line,) = faults(space=space, goals=[{"metric": "concepts/effective_rank", "mode": "max"}])
    assert line.startswith("space.model.decoder.reader: ")


def test_all_faults_are_told_at_once():
    found = faults(
        space={"model.heads": {"choice": [4, 5]}, "training.steps": {"choice": [-1, 100]}},
        goals=[{"metric": "eval/nonsense", "mode": "min"}],
        early_stopping={"kind": "asha", "first_rung": 500},
    )
    assert sorted(line.split(":")[0] for line in found) == [
        "early_stopping.first_rung",
        "goals.0.metric",
        "space.model.heads=5",
        "space.training.steps=-1",
    ]


def test_ratios_in_a_circle_are_refused():
    space = {
        "model.width": {"ratio": {"of": "model.concepts", "choice": [1.0]}},
        "model.concepts": {"ratio": {"of": "model.width", "choice": [1.0]}},
    }
    (line,) = faults(space=space)
    assert line.startswith("space: axes depend on each other in a circle: model.")


def test_a_sample_must_name_exactly_the_paths_of_the_space():
    with pytest.raises(ValueError, match=r"look at model\.width, objective\.rate"):
        sweep().trial({"model.width": 64})


PAIRS = {
    "objective": {"preset": {"tsdae": {"kind": "tsdae"}, "mlm": {"kind": "mlm"}}},
    "model.decoder": {"preset": {"places": {"kind": "position"}, "reader": {"kind": "perceiver"}}},
}
"""tsdae shows no tokens, which the perceiver reads."""
UNSOUND = {"objective": "tsdae", "model.decoder": "reader"}
KNOWS = [{"metric": "eval/word_content_auc", "mode": "max"}]


def test_a_combination_left_out_is_neither_tried_nor_run_and_need_not_be_sound():
    assert any("reads ['ids']" in line for line in faults(space=PAIRS, goals=KNOWS))
    spec = sweep(space=PAIRS, goals=KNOWS, exclude=[UNSOUND], search={"sampler": "grid"}, budget={"trials": 3})
    assert UNSOUND not in spec.search_space.grid_points()
    assert len(spec.search_space.grid_points()) == len(list(spec.search_space.corners())) == 3


@pytest.mark.parametrize(
    ("hole", "fault"),
    [
        ({"objective": "tsdae"}, "exclude.0: names 1 axes"),
        ({"objective": "tsdae", "seed": 1}, "exclude.0.seed: no axis of this space"),
        ({"objective": "nonsense", "model.decoder": "reader"}, "exclude.0.objective: 'nonsense' is not one of"),
    ],
)
def test_what_cannot_be_left_out_is_refused(hole, fault):
    found = faults(space=PAIRS, goals=KNOWS, exclude=[UNSOUND, hole][::-1])
    assert any(line.startswith(fault) for line in found)


def test_what_is_drawn_from_a_range_cannot_be_left_out():
    space = {"objective.rate": {"uniform": [0.3, 0.9]}, "model.concepts": {"choice": [4, 8]}}
    (line,) = faults(space=space, exclude=[{"objective.rate": 0.3, "model.concepts": 4}])
    assert line.startswith("exclude.0.objective.rate: a sampler draws its numbers inexactly")


def test_gates_may_ask_for_labelled_scores_of_what_is_evaluated_afterwards():
    asked = "labelled/stsb/zero-shot/mean/spearman > labelled/stsb/zero-shot/token_means/spearman"
    [gate] = sweep(gates=[{"if": asked, "then": "scale up"}]).gates
    assert gate.condition == asked


def test_a_sweep_reads_back_as_it_was_written_down():
    spec = sweep(space=PAIRS, goals=KNOWS, exclude=[UNSOUND], gates=[{"if": "eval/word_content_auc < 1", "then": "a"}])
    assert SweepSpec.model_validate(spec.model_dump(mode="json")) == spec
    assert spec.model_dump(mode="json")["exclude"] == [UNSOUND]


def test_a_space_of_which_nothing_is_left_is_refused():
    pairs = itertools.product(("tsdae", "mlm"), ("places", "reader"))
    holes = [{"objective": what, "model.decoder": reader} for what, reader in pairs]
    assert any(line.startswith("exclude: leaves nothing") for line in faults(space=PAIRS, goals=KNOWS, exclude=holes))


DEPENDENT = {
    "loss.weighting": {
        "preset": {"fixed": {"kind": "fixed", "weights": {"variance": 0.1}}, "capped": {"kind": "capped"}}
    },
    "loss.weighting.share": {"choice": [0.1, 0.3, 0.5], "when": {"loss.weighting": "capped"}},
    "model.concepts": {"choice": [4, 8]},
}
"""A share belongs to the capped weighting alone."""


def test_an_axis_varies_only_where_its_condition_is_met():
    spec = sweep(space=DEPENDENT, search={"sampler": "grid"}, budget={"trials": 8})
    cells = spec.search_space.grid_points()
    assert [cell for cell in cells if cell["loss.weighting"] == "fixed"] == [
        {"loss.weighting": "fixed", "model.concepts": count} for count in (4, 8)
    ]
    assert sorted(cell["loss.weighting.share"] for cell in cells if cell["loss.weighting"] == "capped") == [
        0.1, 0.1, 0.3, 0.3, 0.5, 0.5,
    ]  # fmt: skip
    assert spec.trial(cells[-1]).loss.weighting.share == 0.5


def test_every_pair_of_extremes_of_a_conditional_axis_is_tried_where_it_varies():
    tried = list(sweep(space=DEPENDENT).search_space.corners())
    assert {(corner.get("loss.weighting.share"), corner["model.concepts"]) for corner in tried} == set(
        itertools.product((None, 0.1, 0.3, 0.5), (4, 8))
    )


def test_a_condition_may_itself_hang_on_another_axis():
    nested = DEPENDENT | {"objective.rate": {"choice": [0.3, 0.6], "when": {"loss.weighting.share": [0.3, 0.5]}}}
    spec = sweep(space=nested)
    rated = {"loss.weighting": "capped", "loss.weighting.share": 0.3, "model.concepts": 4, "objective.rate": 0.6}
    assert spec.search_space.within(rated) == rated
    assert "objective.rate" not in spec.search_space.within(rated | {"loss.weighting.share": 0.1})
    assert set(spec.search_space.within(rated | {"loss.weighting": "fixed"})) == {"loss.weighting", "model.concepts"}
    assert any(corner.get("objective.rate") == 0.6 for corner in spec.search_space.corners())


def test_a_value_where_its_axis_does_not_vary_is_refused():
    with pytest.raises(ValueError, match=r"look at loss\.weighting\.share"):
        sweep(space=DEPENDENT).trial({"loss.weighting": "fixed", "loss.weighting.share": 0.1, "model.concepts": 4})


@pytest.mark.parametrize(
    ("when", "fault"),
    [
        ({"objective": "tsdae"}, "when.objective: no axis of this space"),
        ({"loss.weighting": "cappd"}, "when.loss.weighting: 'cappd' is not one of its values ['fixed', 'capped']"),
        ({"loss.weighting": ["fixed", "capped"]}, "when.loss.weighting: holds for every value of loss.weighting"),
    ],
)
def test_a_condition_that_cannot_be_met_or_always_is_is_refused(when, fault):
    space = DEPENDENT | {"loss.weighting.share": {"choice": [0.1, 0.3], "when": when}}
    assert any(line.startswith(f"space.loss.weighting.share.{fault}") for line in faults(space=space))


def test_a_grid_cannot_hang_on_what_is_drawn_later():
    space = DEPENDENT | {"loss.weighting.share": {"grid": [0.1, 0.3], "when": {"loss.weighting": "capped"}}}
    assert any("grids are crossed before loss.weighting is drawn" in line for line in faults(space=space))


def test_a_point_to_start_with_cannot_set_what_does_not_vary_there():
    point = {"loss.weighting": "fixed", "loss.weighting.share": 0.1}
    found = faults(space=DEPENDENT, search={"start_with": [point]})
    assert found == [
        "search.start_with.0.loss.weighting.share: does not vary where loss.weighting is 'fixed'; "
        "leave it out of this point"
    ]


SHARED = {
    "objective": {"preset": {"mlm": {"kind": "mlm"}, "diffusion": {"kind": "diffusion"}}},
    "model.decoder": {
        "preset": {
            "perceiver": {"kind": "perceiver", "positions": {"kind": "learned"}},
            "diffusion": {"kind": "diffusion"},
        }
    },
    "model.token_width": {"choice": [64, 16]},
}
"""The diffusion decoder shares learned positions of tokens, which it cannot where those are thinner than concepts."""
HOLES = [
    {"objective": "mlm", "model.decoder": "diffusion"},
    {"objective": "diffusion", "model.decoder": "perceiver"},
]


@pytest.mark.parametrize("changes", [{"search": {"sampler": "grid"}, "budget": {"trials": 4}}, {}], ids=["grid", "tpe"])
def test_a_combination_left_out_hides_no_fault_of_another(changes):
    learned = {"positions": {"kind": "learned"}}
    [line] = faults(space=SHARED, exclude=HOLES, goals=KNOWS, run__model__embedding=learned, **changes)
    assert line.startswith("space.objective.diffusion with space.model.token_width=16: model: decoder 'diffusion' of w")


def test_listed_values_that_fit_no_run_only_three_together_are_refused():
    space = {"training.batch": [8, 12], "workers": [1, 2], "training.micro_batch": [2, 4]}
    [line] = faults(space={path: {"choice": values} for path, values in space.items()})
    assert line.startswith("space.training.batch=12 with space.workers=2 with space.training.micro_batch=4: training.")


def test_a_range_in_which_some_points_are_no_valid_run_is_sound_and_says_which_share():
    heads = {"model.width": {"randint": [64, 128], "step": 4}}
    count, [note] = tried_in_all(sweep(space=heads, run__model__heads=8).search_space)
    assert count == "all 17 points tried"
    assert note.startswith("8 of 17 points of the space are no valid runs")
    assert note.endswith("space.model.width=68: model: width 68 is not divisible by 8 heads")
    wide = {"model.width": {"randint": [64, 128]}, "objective.rate": {"uniform": [0.3, 0.9]}}
    count, [note] = tried_in_all(sweep(space=wide, run__model__heads=8).search_space)
    assert count == "260 points tried"
    assert re.match(r"2\d\d of 256 points drawn from the space are no valid runs", note)      # seven of eight widths
    assert tried_in_all(sweep().search_space)[1] == []


def test_a_grid_refuses_a_point_inside_of_a_range_that_is_no_valid_run():
    space = {"model.width": {"randint": [64, 128], "step": 32}}
    [line] = faults(space=space, run__model__heads=64, search={"sampler": "grid"}, budget={"trials": 3})
    assert line == "space.model.width=96: model: width 96 is not divisible by 64 heads"


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        (
            {"space": {name: {"grid": list(range(1, 1001))} for name in ("model.concepts", "seed", "training.batch")}},
            "space: the grid has 1,000,000,000 points, and at most 100,000 can be walked; list fewer values",
        ),
        (
            {"space": {"seed": {"randint": [0, 2**31 - 1]}}, "search": {"sampler": "grid"}},
            "space: the grid has 2,147,483,648 points",
        ),
        (
            {"space": {"data.length": {"randint": [16, 4096]}}, "goals": [RANK]},
            "space: data.length makes 4,081 corpora, and at most 256 are tokenised before a sweep starts",
        ),
        (
            {"space": {"objective.rate": {"uniform": [0.1, 0.9], "step": 1e-300}}},
            "space.objective.rate.uniform: step 1e-300 makes more than 2^53 values of 0.1 to 0.9; make it larger",
        ),
        ({"space": {"seed": {"randint": [0, 10**18]}}}, "space.seed.randint: 1000000000000000000 is beyond 2^53"),
        (
            {
                "space": {"seed": {"randint": [0, 2**31 - 1]}, "model.concepts": {"choice": [4, 8]}},
                "exclude": [{"seed": -1, "model.concepts": 4}],
            },
            "exclude.0.seed: -1 is not one of its values [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, ...]",
        ),
        ({"seeds": 10**9}, "seeds: should be less than or equal to 100"),
        (
            {"promote": {"with": {"training.steps": 500}, "seeds": 10**9}},
            "promote.seeds: should be less than or equal to 100",
        ),
        ({"run__workers": {"min": 1, "max": 10**9}}, "run.workers.max: should be less than or equal to 1024"),
        ({"space": {"model" + 2000 * ".a": {"choice": [1]}}}, "space.model.a.a.a"),
    ],
)
def test_what_is_too_much_to_list_is_counted_and_refused(changes, fault):
    [line] = faults(**changes)
    assert line.startswith(fault)


@pytest.mark.parametrize(
    "space",
    [
        {"seed": {"randint": [0, 2**31 - 1]}},
        {"objective.rate": {"uniform": [0.1, 0.9], "step": 1e-12}},
        {"seed": {"choice": list(range(400))}, "training.report_every": {"choice": list(range(1, 401))}},
        {"seed": {"randint": [0, 2**31 - 1]}, "objective.rate": {"choice": [0.3, 0.6], "when": {"seed": 3}}},
        {"data.sources.library.weight": {"uniform": [1.0, 2.0], "step": 1e-9}},
    ],
    ids=["range", "step", "long axes", "condition", "weight"],
)
def test_a_space_too_large_to_list_is_no_trouble_to_a_sampler(space):
    spec = sweep(space=space)
    assert len(list(spec.search_space.corners())) <= FEW
    assert len(spec.search_space.corpora()) == 1
    assert spec.search_space.grid_points() == [{}]
    assert set(spec.search_space.distributions()) == set(space)


def test_faults_that_differ_in_numbers_alone_are_counted_after_the_first():
    space = {"model.width": list(range(50, 70)), "model.heads": list(range(3, 23))}
    found = faults(space={path: {"choice": values} for path, values in space.items()})
    assert len(found) == 4
    assert found[0] == "space.model.width=50 with space.model.heads=3: model: width 50 is not divisible by 3 heads"
    assert re.fullmatch(r"space\.model\.width: and 3\d\d more faults like these 3", found[-1])


def test_thousands_of_combinations_left_out_are_no_trouble():
    space = {"seed": {"choice": list(range(100))}, "model.concepts": {"choice": list(range(4, 60))}}
    holes = [{"seed": seed, "model.concepts": count} for seed in range(100) for count in range(4, 34)]
    spec = sweep(space=space, exclude=holes, search={"sampler": "grid"}, budget={"trials": 2600})
    assert {cell["model.concepts"] for cell in spec.search_space.grid_points()} == set(range(34, 60))
    assert not any(spec.search_space.excludes(corner) for corner in spec.search_space.corners())
