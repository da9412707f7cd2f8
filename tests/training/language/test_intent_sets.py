"""Sets of messages: which files and columns are read, and what is said where they are missing."""

from pathlib import Path

import pytest

from pipelines.core.errors import NoDataError
from training.language.intent_sets import OUT, read_intents


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    return folder


def test_train_and_test_are_read_by_name_and_validation_is_not(tmp_path: Path) -> None:
    write(
        tmp_path,
        My_Training="utterance,intent,tags\nhi,greet,BQ\nbye now,leave,B\n",
        My_Testing="utterance,intent,tags\nhello,greet,B\nwho won,oos,\n,greet,\nsing,dance,B\n",
        My_Validation="utterance,intent\nhm,greet\n",
    )
    told = read_intents(tmp_path)
    assert told.train.texts == ("hi", "bye now")
    assert told.train.tags == ("BQ", "B")
    assert told.test.texts == ("hello", "who won")  # an empty row says nothing; nobody learnt to dance
    assert told.test.intents.tolist() == ["greet", OUT]
    assert "Validation" not in told.files


def test_text_and_label_are_names_too_and_nothing_out_of_scope_is_learnt(tmp_path: Path) -> None:
    write(tmp_path, train="label,text\na,one\nb,two\n,three\nOOS,four\n", test="text,label\nfive,a\n")
    assert read_intents(tmp_path).train.texts == ("one", "two")


def test_a_single_file_is_split_by_its_column_or_by_its_texts(tmp_path: Path) -> None:
    write(tmp_path, all="text,intent,split\na,x,train\nb,y,train\nc,x,test\n")
    assert read_intents(tmp_path).test.texts == ("c",)
    rows = "".join(f"text {at},{'xy'[at % 2]}\n" for at in range(200))
    write(tmp_path, all="text,intent\n" + rows)
    told = read_intents(tmp_path)
    assert 20 < len(told.test) < 60
    assert not set(told.train.texts) & set(told.test.texts)
    assert read_intents(tmp_path).test.texts == told.test.texts


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "found no CSV file"),
        ({"train": "text,intent\na,x\n", "other": "text,intent\na,x\n"}, "found other.csv, train.csv"),
        ({"train": "words,intent\na,x\n", "test": "text,intent\na,x\n"}, "text or utterance.*found words, intent"),
        ({"train": "", "test": "text,intent\na,x\n"}, "found no row"),
        ({"train": "text,intent\na,x\n", "test": "text,intent\na,x\n"}, "1 intents to learn"),
        ({"train": "text,intent\na,x\nb,y\n", "test": "text,intent\na,oos\n"}, "1 messages of them to judge"),
    ],
)
def test_what_is_missing_is_told_in_one_line(tmp_path: Path, files: dict[str, str], said: str) -> None:
    with pytest.raises(NoDataError, match=said) as refused:
        read_intents(write(tmp_path, **files))
    assert "\n" not in str(refused.value)


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "all.csv").write_bytes(b"text,intent\n\xff\xfe\x00,x\n")
    with pytest.raises(NoDataError, match="expected CSV in UTF-8"):
        read_intents(tmp_path)


def test_the_shared_set_is_read_as_its_source_says() -> None:
    folder = Path(__file__).parents[4] / "shared" / "data" / "bitext-intents"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not here")
    told = read_intents(folder)
    assert (len(told.train), len(told.test)) == (6_480, 810)
    assert len(set(told.train.intents.tolist())) == 27
    assert not set(told.test.texts) & set(told.train.texts)
