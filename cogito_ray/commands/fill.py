"""cogito-ray fill: words for the blanks of a text, by a model with a decoder."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

import cogito_ray as cr
from cogito_ray.commands.shared_options import AsJson, app
from cogito_ray.display.console import out


@app.command(epilog="Example: cogito-ray fill runs/debug 'The [MASK] of a list is its length.'")
def fill(
    checkpoint: Annotated[str, typer.Argument(help="Of a run, trial or sweep, or an export.", show_default=False)],
    texts: Annotated[list[str], typer.Argument(help="Texts, [MASK] where a word is wanted.", show_default=False)],
    steps: Annotated[
        int, typer.Option(min=1, help="Passes of a decoder that denoises; in each, the most confident words stay.")
    ] = 1,
    words: Annotated[int, typer.Option(min=1, help="So many likely words of each blank.")] = 5,
    temperature: Annotated[float, typer.Option(min=0, help="0 takes the likeliest word; above, words are drawn.")] = 0,
    seed: Annotated[int, typer.Option(help="Of what is drawn.")] = 0,
    like: Annotated[
        str | None, typer.Option(help="Concepts come from this text, not from the words beside the blanks.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write words where texts say [MASK], from the concepts of their other words."""
    found = cr.fill(checkpoint, texts, steps=steps, words=words, temperature=temperature, seed=seed, like=like)
    if as_json:
        print(json.dumps([asdict(filled) for filled in found]))
        return
    for filled in found:
        out.print(filled.text, markup=False)
        for likely in filled.blanks:
            out.print("  " + "  ".join(f"{word} {chance:.3f}" for word, chance in likely), markup=False)
