"""Where neither this package nor pydantic is there, an export serves transformers: Auto classes, pipelines, Trainer."""

import json
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

from cogito_ray.evaluation.checkpoint_loader import TrainedModel

TEXTS = ["concept token", "a radius and a delta", "Moment!", "inform " * 30, "delta radius"]
SCRIPT = """
import json, sys
for name in ("cogito_ray", "pydantic"):
    sys.modules[name] = None
import torch, transformers
folder, texts = sys.argv[1], json.loads(sys.argv[2])
told, how = {}, {"trust_remote_code": True}
tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **how)
read = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
told["vectors"] = transformers.AutoModel.from_pretrained(folder, **how)(**read).pooler_output.tolist()
pair = tokenizer("radius", "delta")["input_ids"]
told["separators"] = pair.count(tokenizer.sep_token_id)
told["pair"] = tokenizer.decode(pair)
masked = transformers.AutoModelForMaskedLM.from_pretrained(folder, **how)
fill = transformers.pipeline("fill-mask", model=masked, tokenizer=tokenizer)
told["filled"] = len(fill(f"concept {tokenizer.mask_token}"))
rows = [{"input_ids": ids, "labels": [1.0, 0.0, 1.0]} for ids in tokenizer(texts, truncation=True)["input_ids"]]
model = transformers.AutoModelForSequenceClassification.from_pretrained(folder, num_labels=3, **how)
arguments = transformers.TrainingArguments(
    sys.argv[3], max_steps=2, gradient_checkpointing=True, report_to=[], use_cpu=True, save_strategy="no"
)
trainer = transformers.Trainer(
    model, arguments, train_dataset=rows, data_collator=transformers.DataCollatorWithPadding(tokenizer)
)
told["loss"] = trainer.train().training_loss
trainer.save_model(sys.argv[3])
again = transformers.AutoModelForSequenceClassification.from_pretrained(sys.argv[3], **how)
told["saved"] = bool(torch.equal(again(**read).logits, trainer.model.eval()(**read).logits))
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def opened(trained) -> TrainedModel:
    """With weights large enough for texts to differ."""
    found = TrainedModel.open(trained[1])
    torch.manual_seed(0)
    for parameter in found.model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return found


@pytest.fixture(scope="module")
def told(opened: TrainedModel, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a process says that has torch and transformers; seconds."""
    place = tmp_path_factory.mktemp("elsewhere")
    opened.export(place / "export")
    environment = os.environ | {"HF_HOME": str(place / "cache"), "HF_HUB_OFFLINE": "1", "PYTHONPATH": ""}
    command = [sys.executable, "-c", SCRIPT, str(place / "export"), json.dumps(TEXTS), str(place / "tuned")]
    ran = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    answers: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return answers


def test_auto_model_gives_our_vectors(told: dict[str, Any], opened: TrainedModel):
    np.testing.assert_allclose(told["vectors"], opened.sentence_encoder.pooled(TEXTS, "mean"), atol=1e-5)


def test_pairs_have_a_separator_between_them(told: dict[str, Any]):
    assert told["separators"] == 1


def test_the_pipeline_fills_masks(told: dict[str, Any]):
    assert told["filled"] == 5


def test_trainer_trains_several_labels_and_what_it_saves_comes_back(told: dict[str, Any]):
    assert 0 < told["loss"] < 5      # near log 2, not garbage
    assert told["saved"]
