"""Questions about whole documents: retrieval, multiple choice and answers that a document holds, by frozen vectors.

GovReport (arXiv:2104.02112), QMSum (arXiv:2104.05938), SummScreen (arXiv:2104.07091), QASPER (arXiv:2105.03011),
NarrativeQA (arXiv:1712.07040), QuALITY (arXiv:2112.08608), Natural Questions (doi:10.1162/tacl_a_00276) and
ContractNLI (arXiv:2110.01799), as files of L-Eval (arXiv:2307.11088), SCROLLS (arXiv:2201.03533) or LongBench
(arXiv:2308.14508), in these collections' own columns.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

Row = dict[str, Any]
LETTERS = "ABCD"
OPTIONS = re.compile(r"(?s)(.*?)\n\s*\(A\)(.*?)\n\s*\(B\)(.*?)\n\s*\(C\)(.*?)\n\s*\(D\)(.*?)(?:\n\n+(.*))?")
"""A question, its four options, and, after an empty line, what follows them."""
LETTER = re.compile(r"(?s)\(([A-D])\)(.*)|([A-D])\.?")
"""An answer that begins with its option's letter in brackets, or is a letter."""
VERDICTS = ("Entailment", "Contradiction", "Not mentioned")


@dataclass(frozen=True)
class DocumentQuestion:
    """One question about one document, of many that may be about it."""

    document: str
    question: str
    """Empty where a summary is wanted."""
    answer: str
    """Empty where the collection keeps it secret."""
    row: int = 0
    """Of the file, from 1."""


@dataclass(frozen=True)
class Layout:
    """How a collection lays out its rows."""

    name: str
    columns: frozenset[str]
    read: Callable[[Row, bool], Iterator[DocumentQuestion]]
    """Of a row, and whether its task asks a question."""


def _l_eval(row: Row, asks: bool) -> Iterator[DocumentQuestion]:
    for question, answer in zip(row["instructions"], row["outputs"], strict=True):
        yield DocumentQuestion(row["input"], question if asks else "", answer or "")


def _long_bench(row: Row, asks: bool) -> Iterator[DocumentQuestion]:
    for answer in row["answers"] or [""]:
        yield DocumentQuestion(row["context"], row["input"] if asks else "", answer)


def _scrolls(row: Row, asks: bool) -> Iterator[DocumentQuestion]:
    """The question stands before the document, an empty line between them; options belong to the question. Their
    right one is given by its text, without its letter."""
    answer = row["output"] or ""
    if not asks:
        yield DocumentQuestion(row["input"], "", answer)
    elif (options := OPTIONS.fullmatch(row["input"])) and options[6]:
        yield DocumentQuestion(options[6], row["input"][: options.start(6)].rstrip(), answer)
    else:
        question, _, document = row["input"].partition("\n\n")
        yield DocumentQuestion(document, question, answer)


LAYOUTS = (
    Layout("L-Eval", frozenset({"input", "instructions", "outputs"}), _l_eval),
    Layout("LongBench", frozenset({"context", "input", "answers"}), _long_bench),
    Layout("SCROLLS", frozenset({"input", "output"}), _scrolls),
)


@dataclass(frozen=True)
class RetrievalQueries:
    """Which of these documents is meant? One right one for each text."""

    documents: list[str]
    texts: list[str]
    right: list[int]


@dataclass(frozen=True)
class MultipleChoice:
    """Which of these texts fits its document? `right` is its number among them."""

    documents: list[str]
    about: list[int]
    """The document of each question."""
    options: list[list[str]]
    """Of each question, as many as of any other: texts that hold the question, too."""
    right: list[int]


@dataclass(frozen=True)
class Extraction:
    """Which sentences of its document answer this, or sum it up?"""

    documents: list[str]
    about: list[int]
    """The document of each question."""
    questions: list[str]
    """Empty where nothing else than a summary is wanted."""
    answers: list[list[str]]
    """Of each question, those of several people."""
    summaries: bool
    """Are they scored as summaries, or as answers?"""

    @property
    def words(self) -> float:
        """Of an answer, on average: how much is extracted."""
        every = [len(answer.split()) for answers in self.answers for answer in answers]
        return sum(every) / len(every)


def extracted_answers(questions: Sequence[DocumentQuestion], *, summaries: bool = False) -> Extraction:
    """Each question once, with every answer to it. ValueError names a row without one."""
    if faults := [one for one in questions if not one.answer.strip()]:
        raise _fault(faults, "holds no answer")
    documents, numbers = _distinct(questions)
    answers: dict[tuple[int, str], list[str]] = {}
    for one, number in zip(questions, numbers, strict=True):
        answers.setdefault((number, one.question.strip()), []).append(one.answer)
    about, texts = zip(*answers, strict=True)
    return Extraction(documents, list(about), list(texts), list(answers.values()), summaries)


def extracted_summaries(questions: Sequence[DocumentQuestion]) -> Extraction:
    """The same of summaries, of the whole document or of what a question asks about."""
    return extracted_answers(questions, summaries=True)


def queries_of_answers(questions: Sequence[DocumentQuestion]) -> RetrievalQueries:
    """A summary looks for what it sums up. ValueError names a row without one."""
    if faults := [one for one in questions if not one.answer.strip()]:
        raise _fault(faults, "holds no summary")
    documents, numbers = _distinct(questions)
    return RetrievalQueries(documents, [one.answer for one in questions], numbers)


def queries_of_questions(questions: Sequence[DocumentQuestion]) -> RetrievalQueries:
    """A question, without its options, looks for what can answer it. One that several people answered is asked once;
    ValueError names a row without one."""
    texts = [options[1] if (options := OPTIONS.fullmatch(one.question)) else one.question for one in questions]
    if faults := [one for one, text in zip(questions, texts, strict=True) if not text.strip()]:
        raise _fault(faults, "holds no question")
    documents, numbers = _distinct(questions)
    once = list(dict.fromkeys((text.strip(), number) for text, number in zip(texts, numbers, strict=True)))
    return RetrievalQueries(documents, [text for text, _ in once], [number for _, number in once])


def choices_of_options(questions: Sequence[DocumentQuestion]) -> MultipleChoice:
    """Four options a question. ValueError names a row that is not laid out so, or whose answer is none of them."""
    found = [(one, OPTIONS.fullmatch(one.question)) for one in questions]
    if faults := [one for one, options in found if options is None]:
        raise _fault(faults, "does not hold a question with the options (A), (B), (C) and (D), a line each")
    options = [[each[number].strip() for number in range(2, 6)] for _, each in found if each]
    stems = [each[1].strip() for _, each in found if each]
    right = [_right(each, one.answer) for one, each in zip(questions, options, strict=True)]
    if faults := [one for one, number in zip(questions, right, strict=True) if number is None]:
        raise _fault(faults, "has an answer that is none of its options")
    texts = [[f"{stem} {option}" for option in each] for stem, each in zip(stems, options, strict=True)]
    return _choices(questions, texts, [number for number in right if number is not None])


def choices_of_verdicts(questions: Sequence[DocumentQuestion]) -> MultipleChoice:
    """A hypothesis follows from its document, contradicts it, or neither. ValueError names a row of another answer."""
    if faults := [one for one in questions if one.answer.strip() not in VERDICTS]:
        raise _fault(faults, f"has an answer that is none of {', '.join(VERDICTS)}")
    texts = [[f"{one.question.strip()} {verdict}" for verdict in VERDICTS] for one in questions]
    return _choices(questions, texts, [VERDICTS.index(one.answer.strip()) for one in questions])


def _choices(
    questions: Sequence[DocumentQuestion], options: Sequence[list[str]], right: Sequence[int]
) -> MultipleChoice:
    """Each once, however many people answered it alike."""
    documents, about = _distinct(questions)
    once = list(dict.fromkeys(zip(about, map(tuple, options), right, strict=True)))
    return MultipleChoice(
        documents=documents,
        about=[number for number, _, _ in once],
        options=[list(each) for _, each, _ in once],
        right=[answer for _, _, answer in once],
    )


def _right(options: Sequence[str], answer: str) -> int | None:
    """The number of the option that an answer gives: by its text, by its letter, or by a letter that agrees with the
    text behind it. Of options with one text, the first. None where it gives none."""
    texts, said = [" ".join(option.split()) for option in options], " ".join(answer.split())
    if said in texts:
        return texts.index(said)
    if (found := LETTER.fullmatch(said)) is None:
        return None
    number = LETTERS.index(found[1] or found[3])
    return number if (found[2] or "").strip() in ("", texts[number]) else None


def _fault(rows: Sequence[DocumentQuestion], what: str) -> ValueError:
    """The first of the rows that are at fault, and how many they are."""
    first = rows[0]
    more = f", and {len(rows) - 1} more do" if len(rows) > 1 else ""
    return ValueError(f"row {first.row} {what}{more}; question {first.question[:200]!r}, answer {first.answer[:80]!r}")


Prepared = RetrievalQueries | MultipleChoice | Extraction


@dataclass(frozen=True, kw_only=True)
class DocumentTask:
    """A task about whole documents: which file it is read from, and what is asked about each document."""

    name: str
    files: tuple[str, ...]
    """Below the folder of all data; the first that is there is read."""
    asks: bool
    """Does a row hold a question besides its document?"""
    question_format: Callable[[Sequence[DocumentQuestion]], Prepared]
    """Makes of the rows what is asked."""

    def file(self, data: Path | None) -> Path:
        """FileNotFoundError where none is there: these collections are fetched by hand."""
        if data is None:
            raise FileNotFoundError(f"task {self.name} is read from files; give a folder that holds {self.files[0]}")
        there = [data / name for name in self.files if (data / name).is_file()]
        if not there:
            names = ", ".join(self.files)
            raise FileNotFoundError(f"{data} holds none of {names}; put one there, or leave {self.name} out")
        return there[0]

    def read(self, data: Path | None) -> Prepared:
        """ValueError, with the file and the row, where columns are those of no collection or a row cannot be asked."""
        file, questions = self.file(data), list[DocumentQuestion]()
        try:
            for number, row in enumerate(_rows(file), start=1):
                questions += [replace(one, row=number) for one in _layout(row).read(row, self.asks)]
            if not questions:
                raise ValueError("holds no rows")
            if faults := [one for one in questions if not one.document.strip()]:
                raise _fault(faults, "holds no document")
            return self.question_format(questions)
        except ValueError as fault:
            raise ValueError(f"{file}: {fault}; task {self.name} cannot be asked of it") from fault

    def digest(self, data: Path | None) -> str:
        """Hash of the file."""
        with self.file(data).open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()


def _files(collected: str, named: str) -> tuple[str, ...]:
    long_bench = named.replace("narrative_qa", "narrativeqa")
    return (f"long/{collected}.parquet", f"scrolls/{named}/validation.jsonl", f"longbench/{long_bench}.jsonl")


DOCUMENT_TASKS = {
    task.name: task
    for task in (
        DocumentTask(name="govreport-retrieval", files=_files("gov_report_summ", "gov_report"), asks=False,
                     question_format=queries_of_answers),
        DocumentTask(name="qasper-retrieval", files=_files("scientific_qa", "qasper"), asks=True,
                     question_format=queries_of_questions),
        DocumentTask(name="nq-retrieval", files=_files("natural_question", "nq"), asks=True,
                     question_format=queries_of_questions),
        DocumentTask(name="quality-retrieval", files=_files("quality", "quality"), asks=True,
                     question_format=queries_of_questions),
        DocumentTask(name="quality", files=_files("quality", "quality"), asks=True,
                     question_format=choices_of_options),
        DocumentTask(name="contract-nli", files=_files("contract_nli", "contract_nli"), asks=True,
                     question_format=choices_of_verdicts),
        DocumentTask(name="qasper", files=_files("scientific_qa", "qasper"), asks=True,
                     question_format=extracted_answers),
        DocumentTask(name="narrative-qa", files=_files("narrative_qa", "narrative_qa"), asks=True,
                     question_format=extracted_answers),
        DocumentTask(name="govreport", files=_files("gov_report_summ", "gov_report"), asks=False,
                     question_format=extracted_summaries),
        DocumentTask(name="qmsum", files=_files("meeting_summ", "qmsum"), asks=True,
                     question_format=extracted_summaries),
        DocumentTask(name="summscreen", files=_files("tv_show_summ", "summ_screen_fd"), asks=False,
                     question_format=extracted_summaries),
    )
}  # fmt: skip


def _layout(row: Row) -> Layout:
    found = next((layout for layout in LAYOUTS if layout.columns <= row.keys()), None)
    if found is None:
        known = "; ".join(f"{layout.name}: {', '.join(sorted(layout.columns))}" for layout in LAYOUTS)
        raise ValueError(f"has columns {sorted(row)}, which are those of no collection ({known})")
    return found


def _rows(file: Path) -> Iterable[Row]:
    if file.suffix == ".jsonl":
        with file.open(encoding="utf-8", newline="\n") as lines:  # what else ends a line may stand in a text
            return [_parsed(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    from pyarrow import parquet

    table: list[Row] = parquet.read_table(file).to_pylist()
    return table


def _parsed(number: int, line: str) -> Row:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as fault:
        raise ValueError(f"line {number} is no JSON ({fault})") from fault
    if not isinstance(row, dict):
        raise ValueError(f"line {number} is no JSON object")
    return row


def _distinct(questions: Sequence[DocumentQuestion]) -> tuple[list[str], list[int]]:
    """Documents, each once, and the number of each question's."""
    numbers = {document: number for number, document in enumerate(dict.fromkeys(one.document for one in questions))}
    return list(numbers), [numbers[one.document] for one in questions]
