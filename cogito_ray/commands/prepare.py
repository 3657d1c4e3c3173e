"""cogito-ray prepare: tokenises and packs text."""

import json
from typing import TYPE_CHECKING

import cogito_ray as cr
from cogito_ray.commands.shared_options import RUNS, AsJson, File, Overrides, Storage, app
from cogito_ray.display.console import out

if TYPE_CHECKING:
    from cogito_ray.text.prepared_corpus import Corpus


@app.command(epilog="Example: cogito-ray prepare search_spaces/quickstart.yaml")
def prepare(file: File, overrides: Overrides = None, storage: Storage = RUNS, as_json: AsJson = False) -> None:
    """Tokenise and pack every corpus the file names, once; what stands from before is verified and kept."""
    found = cr.prepare(file, storage=storage, overrides=overrides or (), verbose=not as_json)
    corpora = [_counts(corpus) for corpus in found]
    if as_json:
        print(json.dumps(corpora))
        return
    for number, sources in enumerate(corpora):
        for name, counts in sources.items():
            out.print(f"corpus {number}, {name}: " + ", ".join(f"{value:,} {what}" for what, value in counts.items()))


def _counts(corpus: "Corpus") -> dict[str, dict[str, float]]:
    """Per source, what was made of it."""
    manifests = {source.name: source.shards.manifest for source in corpus.sources}
    return {
        name: {
            "train rows": made.rows("train"),
            "held-out rows": made.rows("held_out"),
            "tokens": sum(made.tokens.values()),
            "tokens per word": round(made.fertility, 2),
            "places of padding": sum(made.padding.values()),
            "cut documents": sum(made.cut_documents.values()),
            "bad documents": made.bad_documents,
            **{f"left out for {reason.replace('_', ' ')}": documents for reason, documents in made.removed.items()},
            **{f"with texts of {name}": documents for name, documents in made.overlaps.items()},
        }
        for name, made in manifests.items()
    }
