"""Under mup, the size of what a model computes and learns does not depend on the size of the model."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from coordinate_check import coordinates, slopes
from model_choices import MODELS, at, fitting

from cogito_ray.run_spec import RunSpec
from cogito_ray.testing.tiny_runs import VOCABULARY, build, losses_of, merged, rows, run

MUP = {"kind": "mup", "base_width": 32, "base_depth": 2, "base_heads": 2}
STANDARD = {"kind": "standard"}
WIDTHS = 32, 128
EACH = pytest.mark.parametrize(
    ("place", "kind"),
    [choice for choice in MODELS if choice[0] != ("parametrisation",)],
    ids=lambda part: part if isinstance(part, str) else ".".join(part),
)
PARTS = {
    place: [kind for there, kind in MODELS if there == place] for place, _ in MODELS if place != ("parametrisation",)
}
MIXTURES = range(max(map(len, PARTS.values())))
Model = dict[str, Any]


def mixture(number: int) -> Model:
    """One of so many models that every kind of every part is in one."""
    model: Model = {"heads": 2}
    for place, kinds in PARTS.items():
        model = merged(model, at(place, kinds[-1 - number % len(kinds)]))
    return model


def grown(size: Callable[[int], Model], sizes: tuple[int, int], optimizer: str = "adamw", seeds: int = 2) -> list[str]:
    """What of a model of these sizes changes with them after five steps: slopes above 0.2, the mean of so many seeds.
    Few small models tell slopes to 0.1 or so; `jobs/bench_coordinates.py` has more of them, and asks for 0.1."""
    training = {"optimizer": {"kind": optimizer, "learning_rate": 4e-3}}
    each = []
    for seed in range(seeds):
        made = {at: run(model=size(at), objective={"kind": "diffusion"}, training=training, seed=seed) for at in sizes}
        each.append(slopes({at: coordinates(one, (5,)) for at, one in made.items()}))
    means = {name: sum(one[name] for one in each) / seeds for name in each[0]}
    return [name for name, slope in means.items() if abs(slope) > 0.2]


@pytest.mark.parametrize("number", MIXTURES)
def test_nothing_grows_with_width_under_mup_whatever_the_model_is_made_of(number: int):
    assert grown(lambda width: mixture(number) | {"width": width, "parametrisation": MUP}, WIDTHS) == []


def of_narrow_heads(width: int) -> Model:
    """They grow in number."""
    return {"width": width, "heads": width // 16, "parametrisation": MUP}


def test_nothing_grows_with_the_number_of_heads_under_mup():
    assert grown(of_narrow_heads, WIDTHS) == []


def test_look_ups_begin_as_sharp_at_every_width_where_heads_grow_in_number():
    """In nats of entropy, of a first look at the tokens. With wider heads half of them go: 1.6, then 0.8."""
    entropy = []
    for width in WIDTHS:
        spec = run(model=of_narrow_heads(width))
        view = spec.views(rows(), VOCABULARY, torch.Generator().manual_seed(0))[0]
        model = build(spec).model
        [look, *_] = model.encoder.attention_weights(view.visible_ids, view.visible_positions, view.mask)[1]
        entropy.append(float(torch.special.entr(look).sum(dim=-1).mean()))
    assert entropy[1] == pytest.approx(entropy[0], rel=0.2)       # codes of 32 numbers hold fewer waves


@pytest.mark.parametrize("number", MIXTURES)
def test_what_is_learned_grows_with_width_under_the_standard_parametrisation(number: int):
    found = grown(lambda width: mixture(number) | {"width": width}, WIDTHS, seeds=1)
    assert "concepts halfway moved after 5" in found


@pytest.mark.parametrize("block", ["cross", "slot"])
def test_muon_learns_as_much_at_every_width_under_mup_alone(block: str):
    def of(width: int) -> Model:
        return {"width": width, "heads": 2, "encoder": {"block": {"kind": block}}}

    assert grown(lambda width: of(width) | {"parametrisation": MUP}, WIDTHS, "muon") == []
    assert "concepts halfway moved after 5" in grown(of, WIDTHS, "muon", seeds=1)


@pytest.mark.parametrize("part", [{"encoder": {"block": {"kind": kind}}} for kind in ("cross", "bixt")])
def test_nothing_grows_with_the_depth_of_the_encoder_under_mup(part: Model):
    def of(depth: int) -> Model:
        return merged(part, {"width": 32, "encoder": {"depth": depth}, "parametrisation": MUP})

    assert grown(of, (2, 8)) == []


@pytest.mark.parametrize("kind", ["position", "diffusion"])
def test_nothing_grows_with_the_depth_of_the_decoder_under_mup(kind: str):
    def of(depth: int) -> Model:
        parametrisation = MUP | {"base_decoder_depth": 1}
        return {"width": 32, "decoder": {"kind": kind, "depth": depth}, "parametrisation": parametrisation}

    assert grown(of, (1, 4)) == []


def test_what_is_learned_grows_with_depth_under_the_standard_parametrisation():
    of_encoder = grown(lambda depth: {"width": 32, "encoder": {"depth": depth}}, (2, 8), seeds=1)
    of_decoder = grown(lambda depth: {"width": 32, "decoder": {"kind": "position", "depth": depth}}, (1, 4), seeds=1)
    assert {"concepts halfway moved after 5"} <= {*of_encoder}
    assert {"hidden moved after 5"} <= {*of_decoder}


@pytest.mark.parametrize("changed", [("width", (128, 256)), ("token_width", (32, 128))], ids=lambda given: given[0])
def test_nothing_grows_with_either_width_while_the_other_stays(changed: tuple[str, tuple[int, int]]):
    """Latents without positions: where they copy tokens, as many numbers of a concept move as a token has."""
    name, sizes = changed
    base = MUP | {"base_width": 128, "base_token_width": 32}
    other = {"width": 128, "token_width": 32, "encoder": {"block": {"kind": "bixt"}}, "parametrisation": base}
    assert grown(lambda size: other | {"latents": {"kind": "plain"}, name: size}, sizes) == []


def trained(spec: RunSpec) -> list[torch.Tensor]:
    """Weights after three steps."""
    total = build(spec)
    optimizer = spec.training.optimizer.build(total)
    for _ in range(3):
        losses_of(spec, total).total.backward()
        optimizer.step()
        optimizer.zero_grad()
    return list(total.parameters())


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@EACH
def test_at_the_base_sizes_mup_is_the_standard_parametrisation_bit_for_bit(
    place: tuple[str, ...], kind: str, optimizer: str
):
    spec = fitting(place, kind)
    depths = {"base_depth": 2} | ({"base_decoder_depth": spec.model.decoder.depth} if kind != "weighted" else {})
    base = {"kind": "mup", "base_width": 16, "base_heads": 2} | depths
    tree = merged(spec.model_dump(mode="json"), {"training": {"optimizer": {"kind": optimizer}}})
    both = (merged(tree, {"model": {"parametrisation": kind}}) for kind in (STANDARD, base))
    assert all(map(torch.equal, *(trained(RunSpec.model_validate(one)) for one in both)))


def multiplied(**over: Any) -> Model:
    """A model at whose every place a multiplier is."""
    sizes = {"base_width": 8, "base_depth": 1, "base_decoder_depth": 2, "base_token_width": 4}
    model = {"width": 16, "token_width": 12, "heads": 2, "decoder": {"kind": "perceiver", "depth": 3}}
    return merged(model | {"parametrisation": MUP | sizes}, over)


def test_a_model_that_is_built_from_the_same_settings_computes_the_same():
    one, other = build(run(model=multiplied())), build(run(model=multiplied(), seed=1))
    for parameter in other.parameters():
        torch.nn.init.zeros_(parameter)
    other.load_state_dict(one.state_dict())
    assert torch.equal(losses_of(run(model=multiplied()), one).total, losses_of(run(model=multiplied()), other).total)
    standard = build(run(model=multiplied(parametrisation=STANDARD)))
    standard.load_state_dict(one.state_dict())
    assert losses_of(run(model=multiplied()), standard).total != losses_of(run(model=multiplied()), one).total


def test_a_step_takes_the_same_share_of_every_weight_at_every_size():
    for group in run().training.optimizer.build(build(run(model=multiplied()))).param_groups:
        assert group["lr"] * group["weight_decay"] in (0, pytest.approx(2e-3 * 0.01))


@pytest.mark.parametrize(
    ("over", "fault"),
    [
        ({"base_width": 15}, "parametrisation: of the base sizes, width 15 is not divisible by 2 heads"),
        ({"base_width": 32, "base_heads": 5}, "of the base sizes, width 32 is not divisible by 5 heads"),
        ({"base_width": 16, "base_decoder_depth": 2}, "base_decoder_depth: there is no decoder of several layers"),
    ],
)
def test_base_sizes_that_are_no_model_are_refused(over: Model, fault: str):
    parametrisation = MUP | over
    with pytest.raises(ValueError, match=fault):
        run(model={"parametrisation": parametrisation, "decoder": {"kind": "weighted"}})


def test_positions_that_fit_the_model_but_not_its_base_are_refused():
    parametrisation = MUP | {"base_width": 8, "base_token_width": 4}
    with pytest.raises(ValueError, match=r"of the base sizes, decoder 'position' of width 8 cannot use 'learned'"):
        run(model={"parametrisation": parametrisation, "embedding": {"positions": {"kind": "learned"}}})


def test_checkpoints_name_the_multipliers_of_their_model_where_it_has_any():
    assert {run().model.multipliers, run(model={"parametrisation": MUP | {"base_width": 16}}).model.multipliers} == {""}
    others = [MUP, MUP | {"base_width": 16, "base_depth": 1}, MUP | {"base_width": 16, "base_heads": 1}]
    assert len({run(model={"parametrisation": other}).model.multipliers for other in others} - {""}) == 3
