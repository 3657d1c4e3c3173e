"""Questions about whole documents: retrieval and multiple choice, by frozen vectors of documents cut into windows.

GovReport (arXiv:2104.02112), QASPER (arXiv:2105.03011), QuALITY (arXiv:2112.08608), Natural Questions
(doi:10.1162/tacl_a_00276) and ContractNLI (arXiv:2110.01799), as files of L-Eval (arXiv:2307.11088), SCROLLS
(arXiv:2201.03533) or LongBench (arXiv:2308.14508), in these collections' own columns.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Row = dict[str, Any]
LETTERS = "ABCD"
OPTIONS = re.compile(r"(?s)(.*?)\n\s*\(A\)(.*?)\n\s*\(B\)(.*?)\n\s*\(C\)(.*?)\n\s*\(D\)([^\n]*)\n*(.*)")
"""A question, its four options, and what follows them."""
VERDICTS = ("Entailment", "Contradiction", "Not mentioned")


@dataclass(frozen=True)
class Asked:
    """One question about one document, of many that may be about it."""

    document: str
    question: str
    """Empty where a summary is wanted."""
    answer: str


@dataclass(frozen=True)
class Layout:
    """How a collection lays out its rows."""

    name: str
    columns: frozenset[str]
    read: Callable[[Row, bool], Iterator[Asked]]
    """Of a row, and whether its task asks a question."""


def _l_eval(row: Row, asks: bool) -> Iterator[Asked]:
    for question, answer in zip(row["instructions"], row["outputs"], strict=True):
        yield Asked(row["input"], question if asks else "", answer)


def _long_bench(row: Row, asks: bool) -> Iterator[Asked]:
    yield Asked(row["context"], row["input"] if asks else "", row["answers"][0])


def _scrolls(row: Row, asks: bool) -> Iterator[Asked]:
    """The question stands before the document, an empty line between them; options belong to the question."""
    if not asks:
        yield Asked(row["input"], "", row["output"])
    elif options := OPTIONS.fullmatch(row["input"]):
        yield Asked(options[6], row["input"][: options.start(6)].rstrip(), row["output"])
    else:
        question, _, document = row["input"].partition("\n\n")
        yield Asked(document, question, row["output"])


LAYOUTS = (
    Layout("L-Eval", frozenset({"input", "instructions", "outputs"}), _l_eval),
    Layout("LongBench", frozenset({"context", "input", "answers"}), _long_bench),
    Layout("SCROLLS", frozenset({"input", "output"}), _scrolls),
)


@dataclass(frozen=True)
class Queries:
    """Which of these documents is meant? One right one for each text."""

    documents: list[str]
    texts: list[str]
    right: list[int]


@dataclass(frozen=True)
class Choices:
    """Which of these texts fits its document? `right` is its number among them."""

    documents: list[str]
    about: list[int]
    """The document of each question."""
    options: list[list[str]]
    """Of each question, as many as of any other: texts that hold the question, too."""
    right: list[int]


def queries_of_answers(asked: Sequence[Asked]) -> Queries:
    """A summary looks for what it sums up."""
    documents, numbers = _distinct(asked)
    return Queries(documents, [one.answer for one in asked], numbers)


def queries_of_questions(asked: Sequence[Asked]) -> Queries:
    """A question, without its options, looks for what can answer it."""
    documents, numbers = _distinct(asked)
    texts = [options[1] if (options := OPTIONS.fullmatch(one.question)) else one.question for one in asked]
    return Queries(documents, [text.strip() for text in texts], numbers)


def choices_of_options(asked: Sequence[Asked]) -> Choices:
    """Four options a question; questions that are not laid out so, or whose answer names none of them, are left out."""
    told = [(one, OPTIONS.fullmatch(one.question), re.match(r"\(?([A-D])\)?", one.answer.strip())) for one in asked]
    whole = [(one, options, letter) for one, options, letter in told if options and letter]
    documents, about = _distinct([one for one, _, _ in whole])
    texts = [[f"{each[1].strip()} {each[number].strip()}" for number in range(2, 6)] for _, each, _ in whole]
    return Choices(documents, about, texts, [LETTERS.index(letter[1]) for _, _, letter in whole])


def choices_of_verdicts(asked: Sequence[Asked]) -> Choices:
    """A hypothesis follows from its document, contradicts it, or neither."""
    documents, about = _distinct(asked)
    texts = [[f"{one.question.strip()} {verdict}" for verdict in VERDICTS] for one in asked]
    return Choices(documents, about, texts, [VERDICTS.index(one.answer.strip()) for one in asked])


@dataclass(frozen=True, kw_only=True)
class LongTask:
    name: str
    files: tuple[str, ...]
    """Below the folder of all data; the first that is there is read."""
    asks: bool
    """Does a row hold a question besides its document?"""
    puts: Callable[[Sequence[Asked]], Queries | Choices]

    def file(self, data: Path | None) -> Path:
        """FileNotFoundError where none is there: these collections are fetched by hand."""
        if data is None:
            raise FileNotFoundError(f"task {self.name} is read from files; give a folder that holds {self.files[0]}")
        there = [data / name for name in self.files if (data / name).is_file()]
        if not there:
            names = ", ".join(self.files)
            raise FileNotFoundError(f"{data} holds none of {names}; put one there, or leave {self.name} out")
        return there[0]

    def read(self, data: Path | None) -> Queries | Choices:
        """ValueError where the columns are those of no collection, or no row can be asked."""
        file = self.file(data)
        asked = [one for row in _rows(file) for one in _layout(file, row).read(row, self.asks)]
        put = self.puts(asked)
        if not put.right:
            raise ValueError(f"{file}: none of {len(asked)} rows can be asked as {self.name}")
        return put

    def digest(self, data: Path | None) -> str:
        """Hash of the file."""
        with self.file(data).open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()


def _files(collected: str, named: str) -> tuple[str, ...]:
    return (f"long/{collected}.parquet", f"scrolls/{named}/validation.jsonl", f"longbench/{named}.jsonl")


LONG_TASKS = {
    task.name: task
    for task in (
        LongTask(name="govreport-retrieval", files=_files("gov_report_summ", "gov_report"), asks=False,
                 puts=queries_of_answers),
        LongTask(name="qasper-retrieval", files=_files("scientific_qa", "qasper"), asks=True,
                 puts=queries_of_questions),
        LongTask(name="nq-retrieval", files=_files("natural_question", "nq"), asks=True, puts=queries_of_questions),
        LongTask(name="quality-retrieval", files=_files("quality", "quality"), asks=True, puts=queries_of_questions),
        LongTask(name="quality", files=_files("quality", "quality"), asks=True, puts=choices_of_options),
        LongTask(name="contract-nli", files=_files("contract_nli", "contract_nli"), asks=True,
                 puts=choices_of_verdicts),
    )
}  # fmt: skip


def _layout(file: Path, row: Row) -> Layout:
    found = next((layout for layout in LAYOUTS if layout.columns <= row.keys()), None)
    if found is None:
        known = "; ".join(f"{layout.name}: {', '.join(sorted(layout.columns))}" for layout in LAYOUTS)
        raise ValueError(f"{file} has columns {sorted(row)}, which are those of no collection ({known})")
    return found


def _rows(file: Path) -> Iterable[Row]:
    if file.suffix == ".jsonl":
        return [json.loads(line) for line in file.read_text().splitlines() if line.strip()]
    from pyarrow import parquet

    table: list[Row] = parquet.read_table(file).to_pylist()
    return table


def _distinct(asked: Sequence[Asked]) -> tuple[list[str], list[int]]:
    """Documents, each once, and the number of each question's."""
    numbers = {document: number for number, document in enumerate(dict.fromkeys(one.document for one in asked))}
    return list(numbers), [numbers[one.document] for one in asked]
