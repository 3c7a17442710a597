"""Settings: what is wrong is named in one line; what is secret is never shown."""

import os
import stat
from pathlib import Path

import pytest

from libs.events.master_key import BadMasterKey, decoded, from_file, read_or_make
from libs.service.environment import master_key
from libs.service.settings import BadSettings, Settings, load, redacted, unknown

KEY = "bGF6bydzIHRlc3RzIHVzZSB0aGlzIGtleSBhbmQgbm8gb3RoZXIgb25l"


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("LAZO_"):
            monkeypatch.delenv(name)


WRONG = [
    ({"LAZO_PORT": "eighty"}, "LAZO_PORT=eighty"),
    ({"LAZO_PORT": "70000"}, "LAZO_PORT=70000"),
    ({"LAZO_KAFKA": "broker"}, "LAZO_KAFKA=broker"),
    ({"LAZO_KAFKA": "a:9092,b"}, "'b' is not host:port"),
    ({"LAZO_DATABASE": "mysql://root:hunter2@db/x"}, "LAZO_DATABASE: mysql is not supported"),
    ({"LAZO_DATABASE": "lazo.db"}, "LAZO_DATA"),
    ({"LAZO_DATABASE": "postgresql//db/lazo"}, "LAZO_DATABASE"),
    ({"LAZO_LANGUAGE": "fr"}, "LAZO_LANGUAGE=fr"),
    ({"LAZO_MAX_BODY": "lots"}, "LAZO_MAX_BODY=lots"),
    ({"LAZO_SHUTDOWN": "0"}, "LAZO_SHUTDOWN=0"),
    ({"LAZO_KAFKA_SECURITY": "SASL_SSL"}, "LAZO_KAFKA_PASSWORD"),
    ({"LAZO_JWT_ISSUER": "https://id"}, "LAZO_JWT_JWKS"),
    ({"LAZO_JWT_ALGORITHMS": "RS256,HS256"}, "LAZO_JWT_ALGORITHMS=RS256,HS256"),
    ({"LAZO_JWT_ALGORITHMS": "none"}, "LAZO_JWT_ALGORITHMS"),
    ({"LAZO_MASTER_KEY": KEY, "LAZO_MASTER_KEY_FILE": "/x"}, "not both"),
    ({"LAZO_IDEMPOTENCY_HOURS": "1"}, "LAZO_IDEMPOTENCY_HOURS=1"),
]


@pytest.mark.parametrize(("given", "named"), WRONG, ids=lambda value: str(value)[:40])
def test_a_wrong_value_names_itself_in_one_line(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], named: str
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(BadSettings) as caught:
        load(Settings)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_wrong_option_of_the_command_is_named_as_it_was_given() -> None:
    with pytest.raises(BadSettings, match=r"^--port=99999: "):
        load(Settings, port=99999)


def test_an_option_goes_before_a_variable_and_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAZO_PORT", "9000")
    monkeypatch.setenv("LAZO_KAFKA", "")
    assert load(Settings, port=None).port == 9000
    assert load(Settings, port=9001).port == 9001
    assert load(Settings).kafka is None


def test_without_anything_set_it_is_embedded_and_under_the_home_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ana")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    settings = load(Settings)
    assert settings.data == Path("/home/ana/.local/share/lazo")
    assert settings.needs_directory
    assert settings.topic_partitions == 2
    assert settings.vault_target() == "/home/ana/.local/share/lazo/vault.db"


def test_secrets_and_passwords_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAZO_DATABASE", "postgresql+asyncpg://lazo:hunter2@db/lazo")
    monkeypatch.setenv("LAZO_MASTER_KEY", KEY)
    monkeypatch.setenv("LAZO_KAFKA_PASSWORD", "swordfish")
    settings = load(Settings)
    shown = str(redacted(settings))
    for secret in ("hunter2", KEY, "swordfish"):
        assert secret not in shown
        assert secret not in repr(settings) or secret == "hunter2"
    assert "postgresql+asyncpg://lazo:***@db/lazo" in shown
    assert not settings.needs_directory or settings.kafka is None


def test_a_variable_that_nobody_reads_is_told_with_what_was_probably_meant() -> None:
    found = unknown(
        [Settings],
        {
            "LAZO_DATABSE": "x",
            "LAZO_PORT": "1",
            "LAZO_TEST_POSTGRES": "x",
            "LAZO_INTAKE_X": "y",
            "HOME": "/",
            "LAZO_ZZZZZZ": "1",
        },
    )
    assert found == ["LAZO_DATABSE is not a setting; LAZO_DATABASE?", "LAZO_ZZZZZZ is not a setting"]


def test_the_embedded_master_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    settings = load(Settings, data=tmp_path / "new")
    first = master_key(settings)
    assert len(first) == 32
    assert master_key(settings) == first
    assert stat.S_IMODE((tmp_path / "new" / "master.key").stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["master.key"]


def test_a_key_file_that_everybody_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    read_or_make(path)
    path.chmod(0o644)
    with pytest.raises(BadMasterKey, match="chmod 600"):
        from_file(path)


@pytest.mark.parametrize("text", ["", "short", "bm90IGVub3VnaA==", "ñ" * 50, "!" * 60])
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(BadMasterKey):
        decoded(text)


def test_a_key_is_read_in_either_alphabet_padded_or_not() -> None:
    raw = bytes([251, 255] * 16)
    import base64

    for text in (base64.b64encode(raw), base64.urlsafe_b64encode(raw), base64.b64encode(raw).rstrip(b"=") + b"\n"):
        assert decoded(text.decode()) == raw


def test_a_shared_vault_needs_a_key_that_was_given(tmp_path: Path) -> None:
    settings = load(Settings, data=tmp_path, database="postgresql+asyncpg://db/lazo")
    with pytest.raises(BadSettings, match="LAZO_MASTER_KEY"):
        master_key(settings)
