"""cogito-ray prepare: tokenises and packs text."""

import json

from cogito_ray.commands.app import RUNS, AsJson, File, Overrides, Storage, app, opened
from cogito_ray.display.console import out
from cogito_ray.display.live_view import stage_of
from cogito_ray.run_spec import RunSpec
from cogito_ray.text.corpus import Corpus


@app.command(epilog="Example: cogito-ray prepare search_spaces/quickstart.yaml")
def prepare(file: File, overrides: Overrides = None, storage: Storage = RUNS, as_json: AsJson = False) -> None:
    """Tokenise and pack every corpus the file names, once; what stands from before is verified and kept."""
    from cogito_ray.runtime.cluster import cluster
    from cogito_ray.runtime.data.ray_data_preparation import prepare as prepare_data
    from cogito_ray.runtime.experiment_folder import refuse_missing

    corpora = []
    with opened(file, overrides) as spec:
        named = [spec.data] if isinstance(spec, RunSpec) else spec.search_space.corpora()
        refuse_missing(named, [])  # before Ray starts
        with cluster():
            for data in named:
                corpus = prepare_data(data, storage, lambda told: None if as_json else out.print(stage_of(told)))
                corpora.append(_counts(corpus))
    if as_json:
        print(json.dumps(corpora))
        return
    for number, sources in enumerate(corpora):
        for name, counts in sources.items():
            out.print(f"corpus {number}, {name}: " + ", ".join(f"{value:,} {what}" for what, value in counts.items()))


def _counts(corpus: Corpus) -> dict[str, dict[str, int]]:
    """Per source, what was made of it."""
    manifests = {source.name: source.shards.manifest for source in corpus.sources}
    return {
        name: {
            "train rows": made.rows("train"),
            "held-out rows": made.rows("held_out"),
            "tokens": sum(made.tokens.values()),
            "bad documents": made.bad_documents,
        }
        for name, made in manifests.items()
    }
