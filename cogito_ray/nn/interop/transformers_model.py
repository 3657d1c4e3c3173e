"""Our models as Hugging Face classes: save_pretrained, Auto classes, push_to_hub, sentence-transformers.

Importing this module registers the Auto classes; exports hold their source (see `modeling_code`). Weights are
safetensors; tables that parts share are stored once.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from tokenizers.processors import TemplateProcessing
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)
from transformers.modeling_outputs import BaseModelOutputWithPooling, MaskedLMOutput, SequenceClassifierOutput
from transformers.utils import logging
from transformers.utils.generic import can_return_tuple

from cogito_ray.nn.concept_pooling import AttentionPoolSpec, EncoderInput
from cogito_ray.nn.interop.modeling_code import AUTO_MAP, FILE, modeling_code
from cogito_ray.nn.model import ConceptModel, ModelSpec
from cogito_ray.nn.token_stages.pretrained import Pretrained
from cogito_ray.plugins import load, used_by
from cogito_ray.text.vocabulary_info import Vocabulary

FLOAT32 = ("centres", "inv_freq")
"""Buffers of places in a row and of frequencies, for which the bits of bfloat16 are too few."""


class ConceptConfig(PreTrainedConfig):
    """What config.json of an export holds: everything that is needed to build the model again."""

    model_type = "cogito_concepts"

    def __init__(
        self,
        model: dict[str, Any] | None = None,
        token_facts: dict[str, Any] | None = None,
        length: int = 128,
        current_length: int | None = None,
        plugins: Sequence[str] = (),
        **rest: Any,
    ):
        """model: a ModelSpec as plain data; token_facts: a Vocabulary; length: tokens of a row in training;
        current_length: tokens of a row now, where the model has been resized; plugins: that define kinds in model."""
        self.plugins = list(plugins)
        self.model = model or {"width": 128}
        self.token_facts = token_facts or {
            "size": 32, "pad_id": 0, "mask_id": 1, "separator_id": 2, "special_ids": [0, 1, 2]
        }  # transformers builds a config without arguments, to tell what differs from the defaults
        self.length, self.current_length = length, current_length or length
        super().__init__(**{"pad_token_id": self.token_facts["pad_id"], "tie_word_embeddings": False} | rest)

    @classmethod
    def of(cls, spec: ModelSpec, vocabulary: Vocabulary, length: int) -> "ConceptConfig":
        """For a model of this spec and vocabulary, trained on rows of `length` tokens."""
        names = ("size", "pad_id", "mask_id", "separator_id")
        facts = {name: getattr(vocabulary, name) for name in names} | {"special_ids": list(vocabulary.special_ids)}
        return cls(spec.model_dump(mode="json"), facts, length, plugins=used_by(spec))

    def spec(self) -> ModelSpec:
        """What the model is. Imports the plugins that it takes."""
        load(self.plugins)
        return ModelSpec.model_validate(self.model)

    @property
    def vocab_size(self) -> int:
        """V, by the name that transformers uses."""
        return int(self.token_facts["size"])

    @property
    def hidden_size(self) -> int:
        """D, of concepts, by the name that transformers uses."""
        return int(self.model["width"])

    @property
    def max_position_embeddings(self) -> int:
        """Longest input, in tokens, by the name that transformers uses."""
        return self.current_length

    def vocabulary(self) -> Vocabulary:
        """The facts about tokens, as our own models take them."""
        return Vocabulary(**self.token_facts | {"special_ids": tuple(self.token_facts["special_ids"])})


class _Pretrained(PreTrainedModel):
    """A ConceptModel under the attribute `concept_model`, whose weights it saves and loads."""

    config: ConceptConfig
    config_class = ConceptConfig
    base_model_prefix = "concept_model"
    main_input_name = "input_ids"
    supports_gradient_checkpointing = True
    _supports_sdpa = True

    def __init__(self, config: ConceptConfig):
        super().__init__(config)
        dtype = torch.get_default_dtype()                                  # that of weights to load
        try:
            torch.set_default_dtype(torch.float32)
            self.concept_model = config.spec().build(config.vocabulary(), config.length)
        finally:
            torch.set_default_dtype(dtype)
        if config.current_length != config.length:
            self.concept_model.resize(config.current_length)
        for name, part in (*self.named_parameters(), *self.named_buffers()):
            if part.is_floating_point() and not name.endswith(FLOAT32):
                part.data = part.data.to(dtype)

    @classmethod
    def wrap(cls, model: ConceptModel, config: ConceptConfig) -> "_Pretrained":
        """This class around a model that was built from `config`'s spec and trained."""
        wrapped = cls(config)
        wrapped.concept_model.load_state_dict(model.state_dict())
        return wrapped

    def init_weights(self) -> None:
        """Modules have started themselves. What a checkpoint lacks is started by transformers when it is loaded."""

    def get_input_embeddings(self) -> nn.Module:
        """The table (V, T) of the encoder, which decoder and head may read as well."""
        return self.concept_model.encoder.embedding.token

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Takes over the weights (V, T) of a table."""
        assert isinstance(value, nn.Embedding)
        self.concept_model.encoder.embedding.token.weight = value.weight

    def _set_gradient_checkpointing(self, enable: bool = True, *how: object, **more: object) -> None:
        self.concept_model.encoder.activation_checkpointing = enable

    def resize(self, length: int) -> None:
        """Serve rows of `length` tokens from now on."""
        self.concept_model.resize(length)
        self.config.current_length = length

    def encoder_input(self, input_ids: Tensor, attention_mask: Tensor | None) -> EncoderInput:
        """input_ids (B, K) and a mask of the same shape, None = all but padding is real -> texts that begin at the
        first place of their rows. ValueError where there are more tokens than a row has."""
        found, most = input_ids.shape[1], self.config.current_length
        if found > most:
            raise ValueError(
                f"{found} tokens, but this model reads {most}: tokenizer(..., truncation=True) cuts texts, and "
                f"model.resize({found}) squeezes positions into those that were trained"
            )
        real, places = self.real(input_ids, attention_mask), torch.arange(found, device=input_ids.device)
        shifted = (places + first(real)) % found                           # (B, K)
        return EncoderInput(input_ids.gather(1, shifted), places.expand_as(input_ids), real.gather(1, shifted))

    def real(self, input_ids: Tensor, attention_mask: Tensor | None) -> Tensor:
        """(B, K) False = padding."""
        return input_ids != self.config.token_facts["pad_id"] if attention_mask is None else attention_mask.bool()

    def concepts(
        self, text: EncoderInput, hidden_states: bool | None, attentions: bool | None
    ) -> tuple[Tensor, dict[str, tuple[Tensor, ...]]]:
        """-> concepts (B, C, D), and what else is asked for: of every layer, concepts and how much of each token each
        concept reads (B, H, C, K), padding on the left left out."""
        encoder, starts = self.concept_model.encoder, self.concept_model.document_starts(text.ids)
        more: dict[str, tuple[Tensor, ...]] = {}
        if self.config.output_attentions if attentions is None else attentions:
            more["attentions"] = tuple(encoder.attention_weights(*text, starts)[1])
        if not (self.config.output_hidden_states if hidden_states is None else hidden_states):
            return encoder(*text, starts), more
        layers = encoder.every_layer(*text, starts)
        return layers[-1], more | {"hidden_states": tuple(layers)}


def first(real: Tensor) -> Tensor:
    """real (B, K) -> (B, 1) the place of the first one that is."""
    return real.byte().argmax(dim=1, keepdim=True)


class ConceptEncoder(_Pretrained):
    """Concepts (B, C, D) as `last_hidden_state`, their mean as `pooler_output`."""

    def __init__(self, config: ConceptConfig):
        super().__init__(config)
        self.post_init()  # type: ignore[no-untyped-call]

    @can_return_tuple  # type: ignore[untyped-decorator]
    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None,
        output_hidden_states: bool | None = None, output_attentions: bool | None = None,
    ) -> BaseModelOutputWithPooling:  # fmt: skip
        """Hidden states and attentions are as `concepts` says."""
        text = self.encoder_input(input_ids, attention_mask)
        concepts, more = self.concepts(text, output_hidden_states, output_attentions)
        return BaseModelOutputWithPooling(last_hidden_state=concepts, pooler_output=concepts.mean(dim=1), **more)


class ConceptForMaskedLM(_Pretrained):
    """Logits (B, K, V) of every place from the concepts; with labels (-100 = not asked), their mean loss in nats."""

    def __init__(self, config: ConceptConfig):
        super().__init__(config)
        if self.concept_model.decoder is None or self.concept_model.head is None:
            raise ValueError("this model has no decoder, so it predicts no words; set model.decoder")
        self.post_init()  # type: ignore[no-untyped-call]

    @can_return_tuple  # type: ignore[untyped-decorator]
    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, labels: Tensor | None = None,
        output_hidden_states: bool | None = None, output_attentions: bool | None = None,
    ) -> MaskedLMOutput:  # fmt: skip
        """Hidden states and attentions are as `concepts` says."""
        model, text = self.concept_model, self.encoder_input(input_ids, attention_mask)
        assert model.decoder is not None
        assert model.head is not None
        masked = text.ids == self.config.token_facts["mask_id"]
        noise = masked.sum(dim=1) / text.visible.sum(dim=1).clamp_min(1)       # (B,)
        concepts, more = self.concepts(text, output_hidden_states, output_attentions)
        hidden = model.decoder(concepts, text.positions, text.ids, noise, model.document_starts(text.ids))
        places = (text.positions - first(self.real(input_ids, attention_mask))) % input_ids.shape[1]
        hidden = hidden.gather(1, places[..., None].expand_as(hidden))         # (B, K, D) where the words stand
        logits, loss = model.head.logits(hidden), None
        if labels is not None:
            loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten())
        return MaskedLMOutput(loss=loss, logits=logits, **more)


class ConceptForSequenceClassification(_Pretrained):
    """Labels from attention-pooled concepts. The loss is that of `config.problem_type`; where that is None, squared
    error of one label, binary cross-entropy of several at once (labels are floats), else cross-entropy."""

    def __init__(self, config: ConceptConfig):
        super().__init__(config)
        spec = config.spec()
        self.pool = AttentionPoolSpec().build(spec.width, spec.heads)
        self.classifier = nn.Linear(spec.width, int(config.num_labels or 2))
        self.post_init()  # type: ignore[no-untyped-call]

    @can_return_tuple  # type: ignore[untyped-decorator]
    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, labels: Tensor | None = None,
        output_hidden_states: bool | None = None, output_attentions: bool | None = None,
    ) -> SequenceClassifierOutput:  # fmt: skip
        """Hidden states and attentions are as `concepts` says."""
        text = self.encoder_input(input_ids, attention_mask)
        concepts, more = self.concepts(text, output_hidden_states, output_attentions)
        logits = self.classifier(self.pool.pooled(concepts))
        loss = None if labels is None else self._loss(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits, **more)

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        kind = self.config.problem_type
        if kind == "regression" or (kind is None and logits.shape[-1] == 1):
            return F.mse_loss(logits.squeeze(-1), labels.to(logits.dtype).view_as(logits.squeeze(-1)))
        if kind == "multi_label_classification" or (kind is None and labels.is_floating_point()):
            return F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))
        return F.cross_entropy(logits, labels)


def register() -> None:
    """Let AutoConfig, AutoModel, AutoModelForMaskedLM and AutoModelForSequenceClassification know these classes."""
    AutoConfig.register(ConceptConfig.model_type, ConceptConfig, exist_ok=True)
    AutoModel.register(ConceptConfig, ConceptEncoder, exist_ok=True)
    AutoModelForMaskedLM.register(ConceptConfig, ConceptForMaskedLM, exist_ok=True)
    AutoModelForSequenceClassification.register(ConceptConfig, ConceptForSequenceClassification, exist_ok=True)


@contextmanager
def without_progress_bar() -> Iterator[None]:
    """Of reading and writing weights, which takes a moment."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def export(
    model: ConceptModel,
    config: ConceptConfig,
    tokenizer: PreTrainedTokenizerBase,
    folder: str | Path,
) -> None:
    """Write everything that AutoModel and SentenceTransformer load."""
    folder, stage = Path(folder), model.encoder.stage
    if isinstance(stage, Pretrained):
        config.model["encoder"]["tokens"]["config"] = stage.backbone.config.to_diff_dict()
    exported = (ConceptEncoder if model.decoder is None else ConceptForMaskedLM).wrap(model, config)
    exported.config.auto_map = dict(AUTO_MAP)
    with without_progress_bar():
        exported.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / FILE).write_text(modeling_code(config.spec()))
    (folder / "modules.json").write_text(json.dumps(_SENTENCE_MODULES, indent=2))
    (folder / "sentence_bert_config.json").write_text(json.dumps(_SENTENCE_VECTOR, indent=2))


def tokenizer_of(file: Path, vocabulary: Vocabulary, length: int) -> PreTrainedTokenizerFast:
    """The tokenizer of a tokenizer.json as training used it, which cuts texts at `length` tokens, but for two uses that
    training has not: a separator stands between the texts of a pair, and a mask that is spelled out is one."""
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(file), model_max_length=length)
    backend = tokenizer.backend_tokenizer
    named = {"pad": vocabulary.pad_id, "mask": vocabulary.mask_id, "sep": vocabulary.separator_id}
    roles = {role: str(backend.id_to_token(i)) for role, i in named.items()}
    pair = ["$A", roles["sep"], "$B"]
    backend.post_processor = TemplateProcessing(
        single="$A", pair=pair, special_tokens=[(roles["sep"], vocabulary.separator_id)]
    )
    backend.encode_special_tokens = False
    tokenizer.add_special_tokens({f"{role}_token": token for role, token in roles.items()})
    return tokenizer


_SENTENCE_MODULES = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]
_SENTENCE_VECTOR = {
    "transformer_task": "feature-extraction",
    "modality_config": {"text": {"method": "forward", "method_output_name": "pooler_output"}},
    "module_output_name": "sentence_embedding",
    "processing_kwargs": {"text": {"split_special_tokens": True}},
}
"""The mean concept is the sentence's vector: sentence-transformers' own pooling expects one vector per token. Special
tokens that a text spells out are text, as in training."""

register()
