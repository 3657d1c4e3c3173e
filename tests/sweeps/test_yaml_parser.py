"""What is read of YAML, and what is refused with its line instead of an exception of the parser."""

import time

import pytest

from cogito_ray.sweeps.yaml_io.yaml_parser import DEEPEST, LARGEST, MOST, NotSettings, parse

LAUGHS = "a0: &a0 [ha, ha]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))
REFUSED = {
    "unknown tag": ("a: 1\nb: !env HOME", "the tag '!env' builds nothing here", 2),
    "python object": ("a: !!python/object/apply:os.system [x]", "the tag '!!python/object/apply:os.system'", 1),
    "tag that does not fit": ("a: !!int many", "a: 'many' is no !!int", 1),
    "date": ("a: !!timestamp 2001-01-01", "'!!timestamp'", 1),
    "list as key": ("a: 1\n? [b]\n: 2", "a key must be a word", 2),
    "mapping as key": ("{{a: b}: c}", "a key must be a word", 1),
    "empty key": ("a: 1\n? \n: 2", "a key has 1 to 200 characters, not 0", 2),
    "long key": (f"{'k' * 201}: 1", "a key has 1 to 200 characters, not 201", 1),
    "merge of a number": ("b:\n  <<: 3", "b.<<: takes a mapping, such as *base", 2),
    "merge of a list": ("b: {<<: [[1]]}", "b.<<: takes a mapping", 1),
    "NUL": ("a: x\0", "U+0000", 1),
    "escaped NUL": ('a: 1\nb: "x\\0"', "b: holds the character U+0000", 2),
    "escape sequence": ('a: "\\e[2J"', "U+001B", 1),
    "lone surrogate": ('a: "\\ud83d"', "a: holds the character U+D83D", 1),
    "itself": ("a: &x [*x]", "a.0: *x stands for what it is in", 1),
    "nothing before": ("a: *x", "a: *x is named by nothing before it", 1),
    "deep lists": (f"a: {'[' * 200}", f"nested more than {DEEPEST} deep", 1),
    "deep mappings": (f"a: {'{a: ' * 200}", f"nested more than {DEEPEST} deep", 1),
    "billion laughs": (LAUGHS, f"holds more than {MOST:,} values", 6),
    "many digits": (f"a: {'9' * 5000}", "a: a whole number of 5000 digits is too large", 1),
    "infinite": ("a: 1e999", "a: '1e999' is too large for a number", 1),
    "two documents": ("a: 1\n---\nb: 2", "a second document begins", 2),
    "no end": ("a: 'x", "is not YAML", 1),
    "tab": ("a: 1\n\tb: 2", "is not YAML", 2),
    "password": ("a: 1\nb: {c: s3://KEY:SECRET@bucket/x}", "b.c: holds a password or key", 2),
    "token": ("a: https://host/x?access_token=abc", "a: holds a password or key", 1),
}


@pytest.mark.parametrize(("text", "message", "line"), REFUSED.values(), ids=REFUSED)
def test_what_no_person_writes_is_refused_with_its_line(text, message, line):
    began = time.monotonic()
    with pytest.raises(NotSettings) as refused:
        parse(text.encode())
    (fault,) = refused.value.faults
    assert message in fault
    assert fault.endswith(f"(line {line})")
    assert len(fault) < 300
    assert time.monotonic() - began < 2


def test_a_secret_is_not_repeated_in_its_refusal():
    with pytest.raises(NotSettings) as refused:
        parse(b"a: s3://KEY:HUNTER2@bucket/x")
    assert "HUNTER2" not in str(refused.value)


def test_bytes_that_are_no_text_and_files_that_are_no_settings_are_refused():
    for content, message in [
        (b"a: 1\nb: \xff", "is not UTF-8: invalid start byte at byte 8 (line 2)"),
        ("a: b".encode("utf-16"), "is not UTF-8"),
        (b"#" * (LARGEST + 1), "is larger than 256 KiB"),
        (b"", "holds no mapping of settings"),
        (b"- 1", "holds no mapping of settings"),
    ]:
        with pytest.raises(NotSettings, match=message.replace("(", r"\(").replace(")", r"\)")):
            parse(content)


def test_scalars_are_those_of_yaml_1_2():
    text = "{a: 1e-3, b: on, c: 0x10, d: 1_000, e: ~, f: '7', g: .5, h: -3, i: True, j: .inf, k: 12:30, l: 2001-01-01}"
    assert parse(text.encode()).tree == {
        "a": 1e-3, "b": "on", "c": "0x10", "d": "1_000", "e": None, "f": "7", "g": 0.5, "h": -3, "i": True,
        "j": ".inf", "k": "12:30", "l": "2001-01-01",
    }  # fmt: skip


def test_tags_of_the_core_schema_say_what_they_say():
    assert parse(b"{a: !!str 5, b: !!float 5, c: !!seq [1], d: !!map {e: !!null ''}}").tree == {
        "a": "5", "b": 5.0, "c": [1], "d": {"e": None},
    }  # fmt: skip


def test_an_emoji_is_itself_whether_written_or_escaped_as_json_does():
    assert parse(b'a: "\\ud83d\\ude00"').tree == parse("a: 😀".encode()).tree == {"a": "😀"}


def test_keys_are_text_as_they_are_written():
    assert parse(b"{8: a, true: b, 1e3: c}").tree == {"8": "a", "true": "b", "1e3": "c"}


def test_merged_and_aliased_places_have_the_lines_where_they_stand():
    text = "base: &base\n  x: 1\n  y: {z: 2}\nfirst:\n  <<: *base\n  x: 3\nsecond: *base\nlast: {<<: [{w: 0}, *base]}\n"
    settings = parse(text.encode())
    assert settings.tree["first"] == {"x": 3, "y": {"z": 2}}
    assert settings.tree["last"] == {"w": 0, "x": 1, "y": {"z": 2}}
    assert [settings.line(place) for place in ("first.x", "first.y.z", "second.y.z", "last.x", "last.w", "second")] == [
        6, 3, 3, 2, 8, 7,
    ]  # fmt: skip
    assert settings.line("nowhere") is None


def test_what_an_alias_stands_for_is_not_shared():
    tree = parse(b"a: &x {b: 1}\nc: *x").tree
    assert tree["a"] is not tree["c"]
