"""Cleaning: what is left out of a corpus, whatever runs it, and that the rest is built, read and recorded as before."""

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpora import data_spec, texts, unread_run

from cogito_ray.run_spec import RunSpec
from cogito_ray.text.cleaning.clean_spec import CleanSpec, NearDuplicatesSpec
from cogito_ray.text.cleaning.duplicate_keys import near_keys
from cogito_ray.text.cleaning.word_hashes import word_hashes
from cogito_ray.text.preparation_plan import Progress, prepare_with, prepared, serially
from cogito_ray.text.prepared_corpus import Corpus
from cogito_ray.text.streamed_text import StreamedText

EXACT = {"exact_duplicates": True, "near_duplicates": None}
Texts = dict[str, list[str]]


def prepare(folder: Path, text: Texts, clean: object, **changed: object) -> Corpus:
    """Of one JSON Lines file a source."""
    sources: dict[str, dict[str, object]] = {}
    for name, documents in text.items():
        file = folder / f"{name}.jsonl"
        lines = "".join(json.dumps({"text": document}) + "\n" for document in documents)
        if not file.exists() or file.read_text() != lines:
            file.write_text(lines)
        sources[name] = {"kind": "files", "path": str(file)}
    return prepare_with(serially, data_spec(sources, clean=clean, packing="document", **changed), folder / "storage")


def left(corpus: Corpus) -> Texts:
    """The documents of each source that became rows, sorted."""
    found: Texts = {}
    for source in corpus.sources:
        manifest = source.shards.manifest
        train, held_out = (np.arange(manifest.rows(side)) for side in ("train", "held_out"))
        rows = np.concatenate([source.shards.train(train), source.shards.held_out(held_out)])
        documents = (row[row != corpus.vocabulary.pad_id].tolist() for row in rows)
        found[source.name] = sorted(map(corpus.tokenizer.tokenizer.decode, documents))
    return found


def removed(corpus: Corpus) -> dict[str, dict[str, int]]:
    return {source.name: source.shards.manifest.removed for source in corpus.sources}


@pytest.fixture
def text() -> Texts:
    """Two sources without duplicates."""
    return {"first": texts(60, seed=1), "second": texts(60, seed=2)}


def test_of_exact_duplicates_the_first_stays_whatever_their_case_and_punctuation(tmp_path: Path, text: Texts) -> None:
    copy, later = text["first"][3], text["second"][5]
    dirty = {"first": [*text["first"], f"{copy.upper()}!"], "second": [copy, *text["second"], later]}
    corpus = prepare(tmp_path, dirty, EXACT, length=512)
    assert left(corpus) == {name: sorted(documents) for name, documents in text.items()}
    assert [counts["exact_duplicate"] for counts in removed(corpus).values()] == [1, 2]


def test_the_source_that_is_named_first_keeps_what_both_have(tmp_path: Path, text: Texts) -> None:
    shared = text["first"][:10]
    corpus = prepare(tmp_path, {"second": [*text["second"], *shared], "first": text["first"]}, EXACT, length=512)
    assert removed(corpus) == {"second": {"exact_duplicate": 0}, "first": {"exact_duplicate": 10}}


def test_of_the_same_files_under_two_names_the_second_keeps_nothing(tmp_path: Path, text: Texts) -> None:
    prepare(tmp_path, text, EXACT)
    sources = {name: {"kind": "files", "path": str(tmp_path / "first.jsonl")} for name in ("one", "two")}
    with pytest.raises(ValueError, match="puts 0 of the 0 documents of source two aside"):
        prepare_with(serially, data_spec(sources, clean=EXACT), tmp_path / "again")


def test_near_duplicates_are_left_out_and_others_stay(tmp_path: Path, text: Texts) -> None:
    longer = [" ".join(text["first"][10 * n : 10 * n + 10]) for n in range(6)]
    near = longer[2].replace(longer[2].split()[30], "otherwise", 1)
    dirty = {"first": [*longer, near], "second": text["second"]}
    corpus = prepare(tmp_path, dirty, {}, length=2048, held_out=0.3)
    assert left(corpus)["first"] == sorted(longer)
    assert removed(corpus) == {
        "first": {"exact_duplicate": 0, "near_duplicate": 1},
        "second": {"exact_duplicate": 0, "near_duplicate": 0},
    }


@pytest.mark.parametrize("similarity", [0.5, 0.7, 0.8, 0.9])
def test_near_duplicates_are_found_with_the_probability_that_the_settings_say(similarity: float) -> None:
    spec, draw = NearDuplicatesSpec(ngram=1), np.random.default_rng(0)
    shared, pairs = 400, 150
    own = round(shared * (1 / similarity - 1) / 2)          # words of each alone: shared / (shared + 2 own)
    found = 0
    for _ in range(pairs):
        words = draw.integers(0, 2**63, shared + 2 * own).astype(np.uint64)
        one, two = words[: shared + own], np.concatenate([words[:shared], words[shared + own :]])
        found += bool((near_keys(one, spec, one) == near_keys(two, spec, two)).any())
    expected = 1 - (1 - similarity**spec.rows) ** spec.bands
    assert found / pairs == pytest.approx(expected, abs=4 * (expected * (1 - expected) / pairs) ** 0.5 + 0.02)


def test_a_text_of_any_length_has_keys() -> None:
    spec = NearDuplicatesSpec()
    for length in (0, 1, 4, 5, 40_000):
        hashes = word_hashes([str(number) for number in range(length)])
        assert near_keys(hashes, spec, word_hashes([""])).shape == (spec.bands,)


def test_lengths_outside_of_their_bounds_are_left_out(tmp_path: Path, text: Texts) -> None:
    bounds = {"characters": {"min": 20}, "words": {"max": 100}, "exact_duplicates": False, "near_duplicates": None}
    text["second"] += ["too short", "long " * 101]
    corpus = prepare(tmp_path, text, bounds, length=512)
    assert removed(corpus) == {"first": {}, "second": {"length": 2}}
    told = corpus.sources[1].shards.manifest.removed_examples
    assert [example.reason for example in told] == [
        "length: 9 characters, 2 words", "length: 505 characters, 101 words",
    ]  # fmt: skip


def test_documents_that_hold_an_evaluations_text_are_left_out_of_every_source(tmp_path: Path, text: Texts) -> None:
    asked = "A person is quietly peeling a large onion."
    (tmp_path / "glue/stsb").mkdir(parents=True)
    table = {"sentence1": [asked], "sentence2": ["Nobody does that in any of these texts."], "label": [5.0]}
    pq.write_table(pa.table(table), tmp_path / "glue/stsb/validation.parquet")
    dirty = {name: [*documents, f"{documents[0]} {asked}"] for name, documents in text.items()}
    clean = {"decontaminate": {"tasks": ["stsb"], "data": str(tmp_path)}}
    corpus = prepare(tmp_path, dirty, clean, length=512)
    assert left(corpus) == {name: sorted(documents) for name, documents in text.items()}
    assert [source.shards.manifest.overlaps for source in corpus.sources] == [{"stsb": 1}, {"stsb": 1}]


def dirty_text() -> Texts:
    draw = random.Random(0)
    every = texts(300, seed=3)
    return {name: draw.choices(every, k=200) for name in ("first", "second")}


def test_what_is_left_out_does_not_depend_on_who_runs_the_tasks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cogito_ray.text.cleaning.corpus_cleaning.SCANNED_BYTES", 4000)
    monkeypatch.setattr("cogito_ray.text.sources.documents.SMALLEST_PART", 3000)

    def backwards(work: Sequence[Callable[[], object]]) -> list[tuple[int, object]]:
        return [(number, work[number]()) for number in reversed(range(len(work)))]

    text = dirty_text()
    first = prepare(tmp_path, text, {}, length=512)
    data = data_spec(
        {name: {"kind": "files", "path": str(tmp_path / f"{name}.jsonl")} for name in text},
        clean={}, packing="document", length=512,
    )  # fmt: skip
    second = prepare_with(backwards, data, tmp_path / "other")
    monkeypatch.undo()
    whole = prepare(tmp_path, text, {}, length=512)
    assert first.digests == second.digests
    assert left(whole) == left(first)
    assert sum(map(len, left(first).values())) == len({document for each in text.values() for document in each})


def test_an_interrupted_cleaning_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cogito_ray.text.cleaning.corpus_cleaning.SCANNED_BYTES", 4000)
    monkeypatch.setattr("cogito_ray.text.sources.documents.SMALLEST_PART", 3000)
    text, calls = dirty_text(), 0

    def fails_once(work: Sequence[Callable[[], object]]) -> list[tuple[int, object]]:
        nonlocal calls
        done = []
        for number, call in enumerate(work):
            calls += 1
            if calls == 4:
                raise OSError("the machine went away")
            done.append((number, call()))
        return done

    sources = {name: {"kind": "files", "path": str(tmp_path / f"{name}.jsonl")} for name in text}
    expected = prepare(tmp_path, text, {}).digests
    data = data_spec(sources, clean={}, packing="document")
    with pytest.raises(OSError, match="went away"):
        prepare_with(fails_once, data, tmp_path / "torn")
    kept = {file: file.stat().st_mtime_ns for file in (tmp_path / "torn/cleaning").rglob("summary-*.json")}
    assert kept
    again: dict[Path, int] = {}

    def looks(told: Progress) -> None:
        if told.stage == "cleaning: comparing documents":
            again.update({file: file.stat().st_mtime_ns for file in kept})

    assert prepare_with(serially, data, tmp_path / "torn", looks).digests == expected
    assert again == kept


def test_cleaned_text_that_is_read_again_gives_the_rows_that_were_counted(tmp_path: Path) -> None:
    text = dirty_text()
    corpus = prepare(tmp_path, text, {}, keep="text", length=512)
    plan = corpus.text_plan(seed=1)
    streamed = StreamedText(corpus, plan)
    total = sum(plan.mixture.rows)
    rows = np.concatenate(list(streamed.rows(0, total, (call() for call in streamed.calls(0, total)))))
    kept = prepare(tmp_path, text, {}, length=512)
    every = (source.shards.train(np.arange(source.shards.manifest.rows("train"))) for source in kept.sources)
    assert {row.tobytes() for row in rows} <= {row.tobytes() for source in every for row in source}


def test_cleaning_is_part_of_what_a_corpus_is(tmp_path: Path, text: Texts) -> None:
    text["second"] += text["first"][:1]
    plain, clean = prepare(tmp_path, text, None), prepare(tmp_path, text, EXACT)
    assert plain.digests.sources["first"] == clean.digests.sources["first"]         # nothing was left out of it
    assert plain.digests.sources["second"] != clean.digests.sources["second"]
    assert plain.sources[0].shards.folder != clean.sources[0].shards.folder


def test_a_prepared_corpus_is_found_without_reading_documents(tmp_path: Path, text: Texts) -> None:
    corpus = prepare(tmp_path, text, {})
    sources = {name: {"kind": "files", "path": str(tmp_path / f"{name}.jsonl")} for name in text}
    assert prepared(data_spec(sources, clean={}, packing="document"), tmp_path / "storage").digests == corpus.digests


@pytest.mark.parametrize(("clean", "said"), [
    ({"exact_duplicates": False, "near_duplicates": None}, "leaves nothing out"),
    ({"words": {"min": 5, "max": 4}}, "max 4 is below min 5"),
])  # fmt: skip
def test_settings_that_clean_nothing_or_everything_are_refused(clean: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        CleanSpec.model_validate(clean)


def test_a_missing_evaluation_set_is_a_fault_before_anything_is_read(tmp_path: Path, text: Texts) -> None:
    clean = {"decontaminate": {"tasks": ["stsb"], "data": str(tmp_path)}}
    with pytest.raises(ValueError, match=r"data\.clean\.decontaminate: .*validation\.parquet is missing"):
        prepare(tmp_path, text, clean)
    assert not (tmp_path / "storage").exists()


def test_a_run_that_will_be_asked_what_its_text_is_not_cleaned_of_is_refused() -> None:
    run = unread_run()
    looked_for = {"decontaminate": {"tasks": ["stsb"], "data": "/data"}}
    run["data"] = {"sources": {"docs": {"kind": "python-docs", "part": "library"}}, "length": 32, "clean": looked_for}
    run["evaluation"] = {"stsb": "/data/glue/stsb"}
    RunSpec.model_validate(run)
    run["evaluation"] = {"labelled": {"tasks": ["stsb", "mrpc"]}}
    with pytest.raises(ValueError, match=r"labelled\.tasks asks mrpc, which data\.clean\.decontaminate\.tasks does"):
        RunSpec.model_validate(run)


def test_of_a_source_with_languages_documents_in_others_are_left_out(tmp_path: Path, text: Texts) -> None:
    spoken = {
        "en": "The committee published its report on the state of the rivers on Monday, and few were pleased with it.",
        "de": "Der Ausschuss hat am Montag seinen Bericht über den Zustand der Flüsse veröffentlicht.",
        "fr": "Le comité a publié lundi son rapport sur l'état des rivières, et peu de gens en ont été contents.",
        "es": "El comité publicó el lunes su informe sobre el estado de los ríos, que no agradó a casi nadie.",
        "ru": "В понедельник комитет опубликовал доклад о состоянии рек, которому мало кто обрадовался.",
        "zh": "委员会周一发布了关于河流状况的报告，几乎没有人对此感到满意。",
    }
    dirty = {"first": [*text["first"], *spoken.values()], "second": list(spoken.values()) * 10 + text["second"]}
    clean = {"languages": {"second": ["en", "de"]}, "exact_duplicates": False, "near_duplicates": None}
    corpus = prepare(tmp_path, dirty, clean, length=512)
    assert left(corpus)["first"] == sorted(dirty["first"])
    assert set(spoken.values()) & set(left(corpus)["second"]) == {spoken["en"], spoken["de"]}
    manifest = corpus.sources[1].shards.manifest
    told = [example.reason for example in manifest.removed_examples if example.reason.split()[-1] in spoken]
    assert told[:4] == [f"language: {code}" for code in ("fr", "es", "ru", "zh")]
    assert corpus.left_out == {"first": {}, "second": manifest.removed}


@pytest.mark.parametrize(
    ("languages", "said"),
    [({"third": ["en"]}, "clean.languages names third; sources are first, second"),
     ({"first": ["xx"]}, r"data\.clean\.languages\.first: 'xx' cannot be told; there are ace, af, "),
     ({"first": ["English"]}, "a language is a code of ISO 639, such as en"),
     ({"first": []}, "at least 1 item")],
)  # fmt: skip
def test_languages_of_no_source_or_that_cannot_be_told_are_refused(
    tmp_path: Path, text: Texts, languages: object, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        prepare(tmp_path, text, {"languages": languages})
