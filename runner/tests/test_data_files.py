"""The files of data sets: what their rows are, and what is said of one that cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiotest import data_files
from aiotest.data_files import DataFileError, Rows, read
from hypothesis import given
from hypothesis import strategies as st


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def rows_of(folder: Path, name: str, content: str | bytes) -> list[dict[str, object]]:
    rows = read(written(folder, name, content), "accounts")
    return [rows[index] for index in range(len(rows))]


def refusal(folder: Path, name: str, content: str | bytes) -> str:
    with pytest.raises(DataFileError) as refused:
        read(written(folder, name, content), "accounts")
    return str(refused.value)


def test_rows_of_csv_are_texts_by_column(tmp_path: Path) -> None:
    text = '\ufeffuser,note\r\nada,"one, two"\r\n\r\nbob,"a ""quoted""\nsecond line"\r\nzoë,\r\n'
    assert rows_of(tmp_path, "a.csv", text) == [
        {"user": "ada", "note": "one, two"},
        {"user": "bob", "note": 'a "quoted"\nsecond line'},
        {"user": "zoë", "note": ""},
    ]


def test_rows_of_json_lines_are_their_objects(tmp_path: Path) -> None:
    text = '{"user": "ada", "age": 36}\n\n{"user": "zo\u2028ë", "tags": ["a"]}'
    assert rows_of(tmp_path, "a.jsonl", text) == [
        {"user": "ada", "age": 36},
        {"user": "zo\u2028ë", "tags": ["a"]},
    ]


def test_a_row_is_made_anew_for_whoever_asks(tmp_path: Path) -> None:
    for name, text in (("a.csv", "tag\nx\n"), ("a.jsonl", '{"tag": ["x"]}\n')):
        rows = read(written(tmp_path, name, text), "accounts")
        rows[0]["tag"] = "changed"
        assert rows[0]["tag"] != "changed"


def test_the_hash_tells_files_apart(tmp_path: Path) -> None:
    def hash_of(text: str) -> str:
        return read(written(tmp_path, "a.csv", text), "accounts").hash

    assert hash_of("user\nada\n") == hash_of("user\nada\n") != hash_of("user\nbob\n")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "a.csv",
            "",
            "a.csv:1: data set `accounts`: the file is empty: its first line must name the columns",
        ),
        ("a.csv", "\n\n", "a.csv:1: data set `accounts`: the file is empty"),
        ("a.csv", "user,password\n", "a.csv:1: data set `accounts`: there is a header and no row beneath it"),
        (
            "a.csv",
            "user,password\nada,x\n\nbob\n",
            "a.csv:4: data set `accounts`: 1 field where the header has 2 (user, password)",
        ),
        (
            "a.csv",
            'user,note\nada,"two\nlines"\nbob,one, two\n',
            "a.csv:4: data set `accounts`: 3 fields where the header has 2 (user, note): "
            "a field with a comma in it stands in quotes",
        ),
        ("a.csv", "user,user\na,b\n", "a.csv:1: data set `accounts`: two columns are called `user`"),
        ("a.csv", "user,\na,b\n", "a.csv:1: data set `accounts`: a column has no name: user, "),
        ("a.csv", "user;age\na;1\n", "there is one column, 'user;age': fields are parted by commas"),
        (
            "a.csv",
            'user\nada\n"bob\nzoe\n',
            "a.csv:3: data set `accounts`: the row that begins here is no CSV",
        ),
        ("a.csv", 'user\n"ada"x\n', "a.csv:2: data set `accounts`: the row that begins here is no CSV"),
        (
            "a.csv",
            b"user\nada\nzo\xeb\n",
            "a.csv:3: data set `accounts`: the byte 0xeb is not UTF-8: save the file as UTF-8",
        ),
        (
            "a.csv",
            "user\n" + "x" * 200_000,
            "a.csv:2: data set `accounts`: the row that begins here is no CSV",
        ),
        (
            "a.jsonl",
            "",
            "a.jsonl:1: data set `accounts`: the file is empty: each line must hold a JSON object",
        ),
        ("a.jsonl", "{}\n{'user': 1}\n", "a.jsonl:2: data set `accounts`: the line is no JSON"),
        ("a.jsonl", "{}\n" + "[" * 100_000, "a.jsonl:2: data set `accounts`: the line is no JSON"),
        (
            "a.jsonl",
            '{}\n\n["ada"]\n',
            "a.jsonl:3: data set `accounts`: the line holds a list: each must hold a JSON object",
        ),
        ("a.jsonl", "7\n", "the line holds a number: each must hold a JSON object"),
        ("a.txt", "user\nada\n", "a.txt: data set `accounts`: the file's name must end in .csv or .jsonl"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_by_file_and_line(
    tmp_path: Path, name: str, content: str | bytes, said: str
) -> None:
    assert said in refusal(tmp_path, name, content)


def test_a_file_that_is_not_there_or_is_none_is_told_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match=r"^a\.csv: data set `accounts`: there is no such file: /"):
        read(tmp_path / "a.csv", "accounts")
    (tmp_path / "b.csv").mkdir()
    with pytest.raises(DataFileError, match=r"^b\.csv: data set `accounts`: is no file: /"):
        read(tmp_path / "b.csv", "accounts")


def test_a_file_beyond_the_bounds_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_files, "LARGEST", 10)
    assert "the file has 11 bytes: at most 10 are read" in refusal(tmp_path, "a.csv", "user\nada\nxy")
    monkeypatch.setattr(data_files, "MOST_ROWS", 1)
    assert "there are 2 rows: at most 1 are read" in refusal(tmp_path, "a.csv", "a\nb\nc\n")


@given(st.binary(max_size=60), st.sampled_from([".csv", ".jsonl"]))
def test_whatever_bytes_there_are_they_are_rows_or_a_refusal(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, suffix: str
) -> None:
    path = tmp_path_factory.getbasetemp() / f"any{suffix}"
    path.write_bytes(content)
    try:
        rows: Rows | None = read(path, "accounts")
    except DataFileError as error:
        rows, said = None, str(error)
    if rows is None:
        assert said.startswith(path.name)
    else:
        assert all(isinstance(rows[index], dict) for index in range(len(rows)))
