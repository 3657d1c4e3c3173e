"""Files of settings with one fault each: every one is refused with its place, its line and a way out, by nothing else.

Faults of other kinds are drawn: shipped files with parts renamed, moved, replaced and cut out, in their values and in
their text.
"""

import copy
import random
import re
import time
from pathlib import Path

import pytest
import yaml

from cogito_ray.python_api import opened
from cogito_ray.sweeps.space.validation_messages import SweepFault
from cogito_ray.sweeps.yaml_io.yaml_writer import dump

ROOT = Path(__file__).parents[1]
SWEEP, RUN = ROOT / "search_spaces" / "quickstart.yaml", ROOT / "jobs" / "debug.yaml"
SWEEP_FAULTS: dict[str, list[tuple[str, str]]] = {
    "promote: {scale: {model.width: 2, training.optimizer.learning_rate: 0.5}}": [
        ("promote: {top: 1}", "promote: a full run would be its trial again;"),
        ("promote: {with: {training.stps: 5}}", "promote.with.training.stps: there is no such setting in a run;"),
        ("promote: {with: {training.steps: many}}", "promote.with.training.steps: should be"),
        ("promote: {seeds: 100000000000, with: {training.steps: 500}}", "promote.seeds: should"),
    ],
    "name: quickstart": [
        ("name: tokens", "name: the storage itself has corpora,"),
        ("name: notebook.md", "name: the storage itself has corpora,"),
        ("name: ../x", "name: '../x' does not fit: a name has 1 to"),
        ("name: 2026", "name: should be text; got 2026; write it in"),
        ("name:", "name: should be text; got null"),
        ("name: [a]", "name: should be text; got a list"),
    ],
    "question: Which": [
        ("question: [Which]\nx: Which", "question: should be text; got a list"),
        ('question: "\\u202eWhich"\nx: Which', "question: holds the character U+202E, no text; delete it"),
        (f"question: hf_{'a' * 34} Which", "question: holds a password or key, which would"),
    ],
    "seed: 0": [
        ("seed: true", "search.seed: should be a whole number; got true"),
        ("seed: -1", "search.seed: should be greater than or equal to 0;"),
        ("seed: 1.5", "search.seed: should be a whole number; got 1.5"),
        ("seed: '0'", "search.seed: should be a whole number; got '0'"),
        ("seed: 99999999999", "search.seed: should be less than 2147483648; got"),
    ],
    "sampler: tpe": [
        ("sampler: bayes", "search.sampler: 'bayes' is not known here; write one"),
        ("sampler: {kind: bayes}", "search.sampler.kind: there is no kind 'bayes'; write one"),
        ("sampler: {kind: tpe, startup_trial: 9}", "search.sampler.startup_trial: there is no such setting here; did"),
        ("sampler: {kind: tpe, startup_trials: 0}", "search.sampler.startup_trials: should be greater than 0;"),
        ("samplr: tpe", "search.samplr: there is no such setting here; did"),
        ("storage: mongodb://h/x", "search.storage: Optuna keeps no studies in 'mongodb';"),
        ("storage: postgresql://u:pw@h/x", "search.storage: holds a password or key, which would"),
        ("storage: 'postgresql://h/x?passwd=hunter2'", "search.storage: holds a password or key, which would"),
        ("storage: optuna.db", "search.storage: is no URL of a database; write for"),
        ("storage: 'postgresql://me:${NO_SUCH_VAR}@h:5/x'", "search.storage: NO_SUCH_VAR is not set in the"),
        ("storage: 'oracle://h/x'", "search.storage: Optuna keeps no studies in 'oracle';"),
        ("storage: 'sqlite:////tmp/${NO_SUCH}.db'", "search.storage: NO_SUCH is not set in the"),
        ("storage: 'postgresql://h:${P}/x'", "search.storage: is no URL of a database; write for"),
        ("storage: 'mysql+foo://h/x'", "search.storage: Optuna keeps no studies in"),
        ("storage: ''", "search.storage: is no URL of a database; write for"),
        ("storage: '://'", "search.storage: is no URL of a database; write for"),
        ("storage: 'sqlite://'", "search.storage: is a database in memory, which nobody else could open"),
        ("storage: 'sqlite:////nowhere/x.db'", "search.storage: the folder of this file is not there; make"),
        ("storage: 'sqlite:////etc'", "search.storage: this is a folder; name a file in it"),
        ("storage: 'sqlite:////tmp/${}.db'", "search.storage: holds a ${ that names no variable; write"),
        ("storage: 'postgresql://h:99999/x'", "search.storage: has no port 99999; write one of 1 to 65535"),
        (f"warm_start: [{'/x' * 3000}]", "search.warm_start.0: '/x/x"),
        ("warm_start: [/nowhere]", "search.warm_start.0: /nowhere holds no ledger.jsonl; name"),
        ("warm_start: /nowhere", "search.warm_start: should be a list; got '/nowhere'"),
        ("start_with: [{objective.rate: 2}]", "search.start_with.0.objective.rate: 2 is not in its domain {'uniform':"),
        ("start_with: [{objective.rte: 0.5}]", "search.start_with.0.objective.rte: no axis that is drawn; name one of"),
    ],
    "goals: [{metric: eval/reconstruction_nats, mode: min}]": [
        ("goals: []", "goals: at least one is needed to rank by;"),
        ("goals: eval/reconstruction_nats", "goals: should be a list; got"),
        ("goals: [{metric: eval/reconstruction_nat, mode: min}]", "goals.0.metric: no run reports"),
        ("goals: [{metric: eval/reconstruction_nats, mod: min}]", "goals.0.mod: there is no such setting here; did"),
        ("goals: [{metric: eval/reconstruction_nats}]", "goals.0.mode: is missing; write it"),
        ("goals: [{metric: loss/variance, mode: min}]", "goals.0.metric: loss/variance asks something else of"),
    ],
    "budget: {trials: 12}": [
        (
            "budget: {trials: 12}\nconstraints: {eval/word_content_auc: '>= 1e999'}",
            "constraints.eval/word_content_auc: '>= 1e999' is no comparison with a",
        ),
        (
            "budget: {trials: 12}\nconstraints: {eval/word_content_auc: 0.6}",
            "constraints.eval/word_content_auc: should be text; got 0.6; write it in",
        ),
        (
            "budget: {trials: 12}\nconstraints: {eval/word_content_auc: '> 0.6'}",
            "constraints.eval/word_content_auc: '> 0.6' leaves its number out; write",
        ),
        (
            "budget: {trials: 12}\nconstraints: {eval/word_contents_auc: '>= 0.6'}",
            "constraints.eval/word_contents_auc: no run reports",
        ),
        ("budget: {trials: 12}\nconstraints: ['>= 0.6']", "constraints: should be a mapping; got a list"),
        ("budget: {trials: 12}\ngates: [{if: 'a<0.45', then: stop}]", "gates.0.if: no run reports a; write one of"),
        (
            'budget: {trials: 12}\ngates: [{if: \'__import__("os").system("x")\', then: stop}]',
            'gates.0.if: \'__import__("os").system("x")\' is no',
        ),
        (
            "budget: {trials: 12}\ngates: [{if: 'concepts/nuclear_rank < 1e999', then: stop}]",
            "gates.0.if: 'concepts/nuclear_rank < 1e999' is no condition",
        ),
        (
            "budget: {trials: 12}\ngates: [{if: 'concepts/nuclear_rank < 3 xor concepts/effective_rank < 3', then: s}]",
            "gates.0.if: 'concepts/nuclear_rank < 3 xor concepts",
        ),
        (
            "budget: {trials: 12}\ngates: [{if: 'concepts/nuclear_rank < 3', then: ''}]",
            "gates.0.then: is empty; write something, or leave",
        ),
        (
            "budget: {trials: 12}\ngates: [{when: 'concepts/nuclear_rank < 3', then: x}]",
            "gates.0.if: is missing; write it",
        ),
        ("budget: {trials: 0}", "budget.trials: should be greater than 0; got 0"),
        ("budget: {trials: many}", "budget.trials: should be a whole number; got 'many'"),
        ("budget: 12", "budget: should be a mapping; got 12"),
        ("budget: {trails: 12}", "budget.trails: there is no such setting here; did"),
        ("budget: {trials: 12, wall: 8}", "budget.wall: 8 is no duration; write 8h, 90m,"),
        ("budget: {trials: 12, wall: 8x}", "budget.wall: '8x' is no duration; write 8h, 90m,"),
        ("budget: {trials: 12, disk: 20 gigs}", "budget.disk: '20 gigs' is no size; write 20GB,"),
        ("budget: {trials: 12, gpu_hours: 3}", "budget.gpu_hours: no trial reserves a GPU; set"),
        ("budget: {trials: true}", "budget.trials: should be a whole number; got true"),
        ("budget: {trials: 1e400}", "budget.trials: '1e400' is too large for a number; at"),
        ("budget: {trials: 12}\nseeds: 1", "seeds: a single further run shows no spread;"),
        ("budget: {trials: 12}\nseeds: true", "seeds: should be a whole number; got true"),
        ("budget: {trials: 12}\nconcurrency: 0", "concurrency: should be greater than 0; got 0"),
        ("budget: {trials: 12}\nexclude: [{objective.rate: 0.5}]", "exclude.0: names 1 axes, but a combination has"),
        ("budget: {trials: 12}\nexclude: [{}]", "exclude.0: names 0 axes, but a combination has"),
        ("budget: {trials: 12}\ninherits: base.yaml", "inherits: there is no such setting here; write"),
        ("budget: {trials: 12}\nextends: 3", "extends: takes the path of a YAML file, or a list of such; got 3"),
    ],
    "early_stopping: {kind: asha, first_rung: 50, eta: 3}": [
        ("early_stopping: {kind: ahsa, first_rung: 50}", "early_stopping.kind: there is no kind 'ahsa'; did you mean"),
        ("early_stopping: {first_rung: 50}", "early_stopping.kind: is missing; write one of none, asha,"),
        ("early_stopping: asha", "early_stopping: should be a mapping; got 'asha'"),
        (
            "early_stopping: {kind: asha, first_rung: 5000}",
            "early_stopping.first_rung: 5000 is not before the last step",
        ),
        (
            "early_stopping: {kind: asha, first_rung: 50, eta: 1}",
            "early_stopping.eta: should be greater than or equal to 2;",
        ),
        ("early_stopping: {kind: asha, firstrung: 50}", "early_stopping.firstrung: there is no such setting here; did"),
        (
            "early_stopping: {kind: population, every: 100}",
            "run.training.checkpoints.milestone_every: trials are copied from checkpoints of",
        ),
    ],
    "{uniform: [0.3, 0.9], step: 0.1}": [
        ("{uniform: [0.9, 0.3]}", "space.objective.rate: the range 0.9 to 0.3 is empty; write"),
        ("{uniform: [0.3, 0.9], step: 5}", "space.objective.rate: step 5.0 is larger than the range 0.3"),
        ("{uniform: [0.3]}", "space.objective.rate.uniform: needs at least 2 entries; got 1"),
        ("0.5", "space.objective.rate: say how it varies: a mapping with one"),
        ("{choice: []}", "space.objective.rate.choice: needs at least 1; got none"),
        ("{choice: [0.5, 0.5]}", "space.objective.rate: 0.5 stands here more than once; list"),
        ("{choice: [0.5], grid: [0.3]}", "space.objective.rate.grid: does not go with what else stands"),
        (
            "{uniform: [0.3, 0.9], when: {objective: tsdae}}",
            "space.objective.rate.when.objective: no axis of this space; name one of",
        ),
        ("{loguniform: [0, 0.9]}", "space.objective.rate: loguniform needs positive bounds, got"),
        ("{uniform: [0.3, 1e999]}", "space.objective.rate.uniform.1: '1e999' is too large for a number; at"),
        ("{choice: [.nan, 0.3]}", "space.objective.rate=.nan: should be a number; got '.nan'"),
        ("{randint: [0, 1]}", "space.objective.rate=0: should be greater than 0; got 0"),
        ("{preset: {}}", "space.objective.rate.preset: needs at least 1; got none"),
    ],
    "choice: [8, 16, 32]": [
        ("choice: [8, 16, true]", "space.model.concepts=true: should be a whole number; got true"),
        ("choice: [8, '16']", "space.model.concepts=16: should be a whole number; got '16'"),
        ("uniform: [8, 32]", "space.model.concepts: a whole number is wanted here; use"),
    ],
    "choice: [0.25, 0.5, 1.0]": [
        ("choice: [0.25, 0.25]", "space.model.token_width.ratio: 0.25 stands here more than once; list"),
        ("choices: [0.25, 0.5]", "space.model.token_width.ratio: say of which path and which"),
        ("choice: [0.001, 0.5]", "space.model.token_width=0.001: should be greater than 0; got 0"),
    ],
    "of: model.width": [
        ("of: model", "space.model.token_width.ratio.of: model is no number of a run; did you"),
        ("of: model.token_width", "space: axes depend on each other in a"),
    ],
    "objective: {kind: tsdae}": [
        ("objective: {kind: tsdea}", "run.objective.kind: there is no kind 'tsdea'; did you"),
        ("objective: tsdae", "run.objective: should be a mapping, for"),
        ("objective: {kind: [tsdae]}", "run.objective.kind: there is no kind a list; did you mean"),
        ("objective: {kind: 3}", "run.objective.kind: there is no kind 3; write one of mlm,"),
        ("objective: {kind: null}", "run.objective.kind: there is no kind null; write one of"),
        ("objective: null", "run.objective: should be a mapping, for"),
    ],
    "steps: 400": [
        ("steps: true", "run.training.steps: should be a whole number; got true"),
        ("steps: 0.5", "run.training.steps: should be a whole number; got 0.5"),
        ("stpes: 400", "run.training.stpes: there is no such setting here; did"),
    ],
    "batch: 16": [("batch: 1e999", "run.training.batch: '1e999' is too large for a number; at")],
    "width: 128": [("width: 130", "run.model: width 130 is not divisible by 4 heads")],
    "heads: 4": [("heads: 3", "run.model: width 128 is not divisible by 3 heads")],
    "length: 64": [("length: 1", "run.data.length: should be greater than or equal to 2;")],
    "held_out: 0.05": [("held_out: 5%", "run.data.held_out: should be a number; got '5%'")],
    "vocabulary: 8192": [("vocabulary: 3", "run.data.tokenizer.vocabulary: should be greater than or equal to")],
    "kind: bpe": [("kind: bep", "run.data.tokenizer.kind: there is no kind 'bep'; write one of")],
    "regularisers: [{kind: variance}]": [
        ("regularisers: {kind: variance}", "run.loss.regularisers: should be a list; got a mapping"),
        ("regularisers: [{kind: variance}, {kind: variance}]", "run.loss: regularisers names ['variance'] more"),
        ("regularisers: [variance]", "run.loss.regularisers.0: should be a mapping; got 'variance'"),
    ],
    "weight: 2}": [("weight: 0}", "run.data.sources.library.weight: should be greater than 0; got 0")],
    "part: library": [("part: libary", "run.data.sources.library.part: 'libary' is not known here; did you")],
    "library: {kind": [("Library: {kind", "run.data.sources.Library: 'Library' does not fit: a source's")],
}
RUN_FAULTS: dict[str, list[tuple[str, str]]] = {
    "library: {kind: python-docs, part: library, weight: 2}": [
        (
            "library: {kind: files, path: 's3://KEY:SECRET@bucket/x'}",
            "data.sources.library.path: holds a password or key, which would",
        ),
        (
            "library: {kind: files, path: 'https://h/x?token=abc'}",
            "data.sources.library.path: holds a password or key, which would",
        ),
        ("library: {kind: files}", "data.sources.library.path: is missing; write it"),
        ("library: {kind: files, path: ''}", "data.sources.library.path: is empty; write something, or leave"),
        ("library: {kind: hub, name: ''}", "data.sources.library.name: is empty; write something, or leave"),
        *[
            (f"library: {{kind: files, path: '{url}'}}", "data.sources.library.path: holds a password or key, which")
            for url in (
                "https://h/x?auth=abc",
                "https://h/x#access_token=abc",
                "https://h/x;token=abc",
                "https://h/x?sas=abc",
                "s3://me:hun/ter2@bucket/x",
            )
        ],
        (
            "library: {kind: hub, name: a/b, weight: -1}",
            "data.sources.library.weight: should be greater than 0; got -1",
        ),
    ],
    "checkpoint_every: 50": [
        ("checkpoints: {upload: bucket/runs}", "training.checkpoints.upload: 'bucket/runs' is no URL; write"),
        ("checkpoints: {upload: 's3://K:S@b/x'}", "training.checkpoints.upload: holds a password or key, which would"),
        ("checkpoints: {upload: 's4://b/x'}", "training.checkpoints.upload: 's4://b/x' is no URL; write"),
        ("checkpoints: {upload: ''}", "training.checkpoints.upload: '' is no URL; write s3://bucket/runs,"),
        ("checkpoints: {best: {metric: eval/nonsense}}", "training.checkpoints.best.metric: no report of this run has"),
        ("checkpoints: {upload: 's3://${KEY}:${SECRET}@b/x'}", "training.checkpoints.upload: takes nothing from"),
        ("checkpoints: {keep: 0}", "training.checkpoints.keep: should be greater than 0; got 0"),
        ("checkpoints: {best: {metric: eval/nonsense}}", "training.checkpoints.best"),
    ],
    "reader: streamed": [
        (
            "start_from: {kind: checkpoint, folder: /nowhere, parts: [encoder]}",
            "start_from.folder: /nowhere holds no weights; name a",
        ),
        (
            "start_from: {kind: checkpoint, folder: here, parts: [encoder]}",
            "start_from.folder: 'here' is relative, but workers start",
        ),
        (
            "start_from: {kind: checkpoint, folder: /nowhere, parts: [decoder]}",
            "start_from.parts.0: 'decoder' is not known here; did you",
        ),
        (
            "start_from: {kind: checkpoint, folder: /nowhere, parts: [encoder, decodr]}",
            "start_from.parts.1: 'decodr' is not known here; did you",
        ),
        (
            "start_from: {kind: seed, folder: /nowhere, parts: [encoder]}",
            "start_from.folder: /nowhere holds no weights; name a",
        ),
        ("start_from: /nowhere", "start_from: should be a mapping; got '/nowhere'"),
        (
            "evaluation: {labelled: {tasks: [sts-b]}}",
            "evaluation.labelled.tasks.0: no task is called sts-b; did you mean",
        ),
        ("evaluation: {labelled: {tasks: 5}}", "evaluation.labelled.tasks: should be a list; got 5"),
        ("evaluation: {labelled: {tasks: []}}", "evaluation.labelled.tasks: needs at least 1; got none"),
        (
            "evaluation: {labelled: {tasks: [stsb], data: data}}",
            "evaluation.labelled.data: 'data' is relative, but workers start",
        ),
        (
            "evaluation: {labelled: {protocols: [probes]}}",
            "evaluation.labelled.protocols.0: 'probes' is not known here; did you",
        ),
        ("evaluation: {stsb: data}", "evaluation.stsb: 'data' is relative, but workers start"),
        ("evaluation: {word_probes: {lengh: 3}}", "evaluation.word_probes.lengh: there is no such setting here; write"),
        ("evaluation: {reference: {kind: mml}}", "evaluation.reference.kind: there is no kind 'mml'; write one of"),
        ("workers: 0", "workers: should be greater than 0; got 0"),
        ("workers: {min: 2}", "workers.max: is missing; write it"),
        ("workers: {min: 4, max: 2}", "workers: min 4 is not below max 2; for a fixed"),
        (
            "workers: 3",
            "training.batch 32 cannot be shared by",
        ),
        ("labels: {gpu: 'a b'}", "labels.gpu: 'a b' does not fit: a label has"),
        ("labels: [gpu]", "labels: should be a mapping; got a list"),
        ("gpus_per_worker: 1.5", "gpus_per_worker: 1.5 is neither a share of one GPU nor"),
        (
            f"start_from: {{kind: checkpoint, folder: {'/x' * 3000}, parts: [encoder]}}",
            "start_from.folder: '/x/x",
        ),
        ("gpus_per_worker: -1", "gpus_per_worker: should be greater than or equal to 0;"),
        ("branch: {run: x, step: 3}", "branch: a copy of a trial is trained in its"),
        ("seed: true", "seed: should be a whole number; got true"),
        ("cpus_per_worker: '2'", "cpus_per_worker: should be a number; got '2'"),
        ("reader: stremed", "reader: 'stremed' is not known here; did you mean"),
    ],
    "batch: 32": [
        (
            "batch: 33",
            "training.batch 33 cannot be shared by",
        )
    ],
    "micro_batch: 16": [
        (
            "micro_batch: 64",
            "training.batch 32 cannot be shared by",
        )
    ],
    "tokenizer: {kind: bpe, vocabulary: 8192}": [
        ("tokenizer: {kind: pretrained, name: ''}", "data.tokenizer.name: is empty; write something, or leave it out"),
        (f"tokenizer: {{kind: pretrained, name: hf_{'a' * 34}}}", "data.tokenizer.name: holds a password or key"),
        ("tokenizer: {kind: bpe, name: x}", "data.tokenizer.name: there is no such setting here; write"),
    ],
    "decoder: {kind: position}": [
        (
            "decoder: {kind: diffusion}",
            "model.decoder 'diffusion' reads ['ids', 'noise'], which objective 'tsdae' does not give",
        ),
        ("decoder: position", "model.decoder: should be a mapping; got 'position'"),
    ],
    "depth: 2": [("depth: -2", "model.encoder.depth: should be greater than 0; got -2")],
    "block: {kind: cross}": [
        ("block: {kind: cros}", "model.encoder.block.kind: there is no kind 'cros'; did you mean"),
        ("block: {kind: bixt, lr: 3}", "model.encoder.block.lr: there is no such setting here; write"),
    ],
    "rate: 0.6": [
        ("rate: 1.6", "objective.rate: should be less than 1; got 1.6"),
        ("rate: '0.6'", "objective.rate: should be a number; got '0.6'"),
        ("raet: 0.6", "objective.raet: there is no such setting here; did"),
        ("noise: 0.6", "objective.noise: there is no such setting here; did"),
    ],
    "steps: 100": [
        ("steps: 100\n  optimizer: {lr: 1e-3}", "training.optimizer.lr: there is no such setting here; did"),
        ("steps: 100\n  schedule: {kind: cosin}", "training.schedule.kind: there is no kind 'cosin'; did you"),
        ("steps: 100\n  guards: {colapse: null}", "training.guards.colapse: there is no such setting here; did"),
        (
            "steps: 100\n  guards: {collapse: {measure: rank}}",
            "training.guards.collapse.measure: 'rank' is not known here; write one",
        ),
        ("steps: 100\n  on_divergence: rollback", "training.on_divergence: should be a mapping; got 'rollback'"),
        ("steps: 100\n  precision: fp16", "training.precision: 'fp16' is not known here; write one"),
        ("steps: 100\n  compile: 'yes'", "training.compile: should be true or false; got 'yes'"),
        ("steps: 100\n  stall_s: .inf", "training.stall_s: should be a number; got '.inf'"),
        ("steps: 100\n  learning_rate: 1e-3", "training.learning_rate: there is no such setting here; did"),
        ("steps: 100\n  parallel: fsdp", "training.parallel 'fsdp': one worker has nothing to share; set"),
    ],
    "data:": [("dta:", "dta: there is no such setting here; did")],
    "sources:": [("source:", "data.source: there is no such setting here; did")],
}

"""What stands in the file -> what stands there instead, and how the first fault that is told begins."""
ONE_FAULT = [
    (file, old, new, fault)
    for file, faults in ((SWEEP, SWEEP_FAULTS), (RUN, RUN_FAULTS))
    for old, cases in faults.items()
    for new, fault in cases
]
EXTREMES = [
    (RUN, "reader: streamed", "workers: {min: 1, max: 1000000000}", "workers.max: should be less than or equal to"),
    (RUN, "reader: streamed", "workers: {min: 1, max: 1000}", "training.batch 32 cannot be shared by 3 workers"),
    (RUN, "heads: 4", "heads: 1000000000000", "model: width 64 is not divisible by"),
    (SWEEP, "search:", "seeds: 1000000000000\nsearch:", "seeds: should be less than or equal to 100"),
    (SWEEP, "{choice: [8, 16, 32]}", "{randint: [0, 2147483647]}", "space.model.concepts=0: should be greater than 0"),
    (SWEEP, "step: 0.1", "step: 1.0e-12, when: {model.concepts: 9}", "space.objective.rate.when.model.concepts: 9"),
    (SWEEP, "{kind: tsdae}", "tsdae", "run.objective: should be a mapping, for objective.rate"),
    (RUN, "{kind: tsdae, rate: 0.6}", "tsdae", "objective: should be a mapping; got 'tsdae'; write {kind: tsdae}"),
    (SWEEP, "  objective.rate:", "  loss.regularisers.7.layers:", "run.loss.regularisers: has 1 entries, counted"),
]
"""Of size, or of shape."""
FINE = [
    (SWEEP, "steps: 400", "steps: 4e2"),
    (SWEEP, "steps: 400", "steps: 400.0"),
    (SWEEP, "name: quickstart", "'name': \"quickstart\""),
    (SWEEP, "batch: 16", "batch: !!int 16"),
    (SWEEP, "sampler: tpe", "sampler: tpe, storage: 'sqlite:////tmp/studies.db'"),
    (SWEEP, "sampler: tpe", "sampler: tpe, storage: 'sqlite:///${HOME}/studies.db'"),
    (SWEEP, "budget: {trials: 12}", "budget: {trials: 12, wall: 1h30m, disk: 20 GB}"),
    (SWEEP, "budget: {trials: 12}", "budget: {trials: 12}\nconstraints: {eval/word_content_auc: '>=.6'}"),
    (SWEEP, "search:", "gates: [{if: 'eval/word_content_auc<.6 and concepts/nuclear_rank >= 2', then: x}]\nsearch:"),
    (SWEEP, "search:", "gates: [{if: concepts/nuclear_rank < 2, then: \"\\ud83d\\ude00\"}]\nsearch:"),
    (RUN, "reader: streamed", "workers: {min: 1, max: 2}"),
    (RUN, "reader: streamed", "labels: {ray.io/accelerator-type: A100}"),
    (RUN, "checkpoint_every: 50", "checkpoints: {upload: 's3://bucket/runs?region=eu'}"),
    (RUN, "checkpoint_every: 50", "checkpoints: {upload: /shared/copies}"),
    (RUN, "{kind: python-docs, part: library, weight: 2}", "{kind: files, path: 'https://host:8080/a/b.parquet'}"),
    (RUN, "{kind: python-docs, part: library, weight: 2}", "{kind: files, path: 'https://host:8080/a@b?author=me'}"),
    (RUN, "reader: streamed", "gpus_per_worker: 0.5"),
]
"""What is to be accepted as well."""


def refusal(file):
    """Faults of a file; none if it is fine. Whatever else its reading raises is a fault of ours."""
    began = time.thread_time()
    try:
        with opened(file):
            faults = []
    except SweepFault as refused:
        faults = refused.faults
    assert time.thread_time() - began < 5            # of work, however busy the machine is
    return faults


def changed(tmp_path, file, old, new):
    text = file.read_text()
    assert old in text
    (tmp_path / "changed.yaml").write_text(text.replace(old, new, 1))
    return tmp_path / "changed.yaml"


@pytest.mark.parametrize(
    ("file", "old", "new", "fault"), ONE_FAULT + EXTREMES, ids=[case[2][:60] for case in ONE_FAULT + EXTREMES]
)
def test_a_fault_is_told_with_its_place_and_line(tmp_path, file, old, new, fault):
    first, *_ = refusal(changed(tmp_path, file, old, new))
    assert first.startswith(fault)
    assert re.search(r" \(line \d+\)$", first)
    assert_in_the_users_words(first)


@pytest.mark.parametrize(("file", "old", "new"), FINE, ids=[case[2][:60] for case in FINE])
def test_what_is_unusual_but_means_something_is_accepted(tmp_path, file, old, new):
    assert refusal(changed(tmp_path, file, old, new)) == []


def test_a_secret_is_not_repeated_in_what_is_told_of_its_file(tmp_path):
    for old, new in [
        ("{kind: python-docs, part: library, weight: 2}", "{kind: files, path: 's3://KEY:HUNTER2@bucket/x', colum: a}"),
        ("checkpoint_every: 50", "checkpoints: {upload: 'gs://x?secret_key=HUNTER2', best: 3}"),
        ("reader: streamed", "labels: {a: 'https://HUNTER2@host'}"),
    ]:
        faults = refusal(changed(tmp_path, RUN, old, new))
        assert faults
        assert "HUNTER2" not in "".join(faults)


@pytest.mark.parametrize("part", ["name", "run", "space", "goals", "budget"])
def test_a_part_that_no_sweep_can_do_without_is_missing_at_its_own_place(tmp_path, part):
    tree = yaml.safe_load(SWEEP.read_text())
    del tree[part]
    (tmp_path / "changed.yaml").write_text(dump(tree))
    assert f"{part}: is missing; write it" in refusal(tmp_path / "changed.yaml")


VALUES = [
    None, True, False, 0, -1, 1.5, 1e-300, 1e300, 10**17, "", "x", "${X}", "a.b", "/", "..", "1e3", "é", "x" * 3000, [],
    {}, [[]], [{}], [None], [1, 1], {"kind": "x"}, {"kind": None}, {"kind": []}, {"choice": [1, 2]},
    {"grid": [True, False]}, {"uniform": [0, 1]}, {"ratio": {"of": "model.width", "choice": [0.5]}},
    {"preset": {"a": {}}}, {"loguniform": [0, 1]},
]  # fmt: skip
BITS = [
    "*a", "&a ", "!x ", "<<: ", "? ", "- ", ": ", "{", "}", "[", "]", "'", '"', "\\", "#", "|", ">", "%", "@", "`",
    "\t", "\0", "\u2028", "é", "0", "9" * 30, "1e999", "~", "---\n", "...\n", "\n", " ", "\r", "\ufeff", ",", "!!int ",
    "\x85",
]  # fmt: skip


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("file", [SWEEP, RUN, ROOT / "search_spaces" / "decoders.yaml"], ids=lambda file: file.stem)
def test_a_file_with_parts_exchanged_is_fine_or_refused_and_nothing_else(tmp_path, file, seed):
    draw, tree = random.Random(f"{file.stem} {seed}"), yaml.safe_load(file.read_text())
    for _ in range(8):
        mutant = copy.deepcopy(tree)
        for _ in range(draw.choice([1, 1, 2])):
            exchange(draw, mutant)
        (tmp_path / "mutant.yaml").write_text(dump(mutant))
        assert_plain(refusal(tmp_path / "mutant.yaml"))


@pytest.mark.parametrize("seed", range(24))
def test_a_file_with_its_text_damaged_is_fine_or_refused_and_nothing_else(tmp_path, seed):
    draw = random.Random(seed)
    for _ in range(8):
        text = draw.choice([SWEEP, RUN]).read_text()
        for _ in range(draw.choice([1, 1, 2, 4])):
            at, other = draw.randrange(len(text)), draw.randrange(len(text))
            put_in = draw.choice([draw.choice(BITS), "", text[other : other + draw.choice([5, 30, 200])]])
            text = text[:at] + put_in + text[at + draw.choice([0, 1, 5, 40]) :]
        (tmp_path / "mutant.yaml").write_bytes(text.encode())
        assert_plain(refusal(tmp_path / "mutant.yaml"))


def exchange(draw, tree):
    """Something in the tree for something else, in place."""
    everywhere = list(entries(tree))
    if not everywhere:
        return
    (here, key), (there, other) = draw.choice(everywhere), draw.choice(everywhere)
    match draw.randrange(6):
        case 0:
            here[key] = copy.deepcopy(draw.choice(VALUES))
        case 1:
            here[key] = copy.deepcopy(there[other])
        case 2:
            del here[key]
        case 3:
            here[key] = [here[key]]
        case 4:
            here[key] = {draw.choice(["a", "0", "kind", "when"]): here[key]}
        case 5 if isinstance(here, dict):
            here[str(key) + draw.choice(["x", "_", ".", " ", ".0"])] = here.pop(key)


def entries(tree):
    for key, value in list(tree.items() if isinstance(tree, dict) else enumerate(tree)):
        yield tree, key
        if isinstance(value, dict | list):
            yield from entries(value)


def assert_plain(faults):
    for fault in faults:
        told_of_a_line = re.search(r"\(line \d+\)$|at lines \d+ and \d+; keep one$", fault)
        assert told_of_a_line or fault.endswith((": is missing; write it", "search_spaces/quickstart.yaml")), fault
        assert_in_the_users_words(fault)


def assert_in_the_users_words(fault):
    """No regular expression, no name that pydantic or Python alone uses, nothing endless."""
    assert not re.search(r"function-|tagged-union|Input |Extra inputs|\bdict\b|NoneType|\[A-Z|Distribution\(", fault)
    assert len(fault) < 700
