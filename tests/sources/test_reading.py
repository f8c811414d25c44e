"""Files that somebody else has named: none waits, has no end, or lies where it must not."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from mailsluice.config import loading
from mailsluice.mailing.mailing import MESSAGE_BYTES_MAX, Attachment
from mailsluice.model.errors import ConfigurationError
from mailsluice.sources import reading
from mailsluice.sources.reading import NoFileError

SECRET = b"secret"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A mailing's folder, beside a file that is none of its business."""
    made = tmp_path / "mailing"
    (made / "lists" / "old").mkdir(parents=True)
    (made / "lists" / "list.csv").write_bytes(b"email\n")
    (tmp_path / "secret").write_bytes(SECRET)
    return made


def content(path: str, folder: Path) -> bytes:
    return reading.read(folder / path, 100, within=folder)


def link(at: str, to: str) -> Callable[[Path], None]:
    return lambda folder: (folder / at).symlink_to(to)


def nothing(_: Path) -> None:
    """Prepare nothing."""


@pytest.mark.parametrize(
    ("prepare", "path"),
    [
        (nothing, "lists/list.csv"),
        (nothing, "lists/old/../list.csv"),
        (link("a.csv", "lists/list.csv"), "a.csv"),
        (link("lists/old/a.csv", "../list.csv"), "lists/old/a.csv"),
        (link("now", "lists"), "now/list.csv"),
        (link("now", "lists/old"), "now/../list.csv"),
    ],
)
def test_a_file_inside_the_folder_is_read_however_it_is_reached(
    prepare: Callable[[Path], None], path: str, folder: Path
) -> None:
    prepare(folder)
    assert content(path, folder) == b"email\n"


@pytest.mark.parametrize(
    ("prepare", "path"),
    [
        (nothing, "../secret"),
        (nothing, "/etc/passwd"),
        (nothing, "/proc/self/environ"),
        (nothing, "/dev/fd/0"),
        (nothing, "lists/../../secret"),
        (nothing, ".."),
        (link("a.csv", "../secret"), "a.csv"),
        (link("a.csv", "/etc/passwd"), "a.csv"),
        (link("a.csv", "nowhere/../../secret"), "a.csv"),
        (link("up", ".."), "up/secret"),
        (link("up", "/"), "up/etc/passwd"),
        (link("lists/old/a.csv", "../../../secret"), "lists/old/a.csv"),
        (link("a.csv", "a.csv"), "a.csv"),
    ],
)
def test_no_way_leads_out_of_the_folder(
    prepare: Callable[[Path], None], path: str, folder: Path
) -> None:
    prepare(folder)
    with pytest.raises(OSError, match=r"outside of the mailing's folder|No such file|in a circle"):
        content(path, folder)


@pytest.mark.parametrize("swapped", ["lists/list.csv", "lists"])
def test_a_link_that_is_put_in_place_meanwhile_is_not_followed(
    swapped: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder.parent / "list.csv").write_bytes(SECRET)
    look = os.stat

    def look_and_swap(*arguments: object, **options: object) -> os.stat_result:
        found = look(*arguments, **options)  # type: ignore[arg-type]  # whatever it was given
        if arguments[0] == Path(swapped).name and not (folder / swapped).is_symlink():
            (folder / swapped).rename(folder / "away")
            (folder / swapped).symlink_to(folder.parent / ("." if swapped == "lists" else "secret"))
        return found

    monkeypatch.setattr(os, "stat", look_and_swap)
    with pytest.raises(OSError, match=r"symbolic links|Not a directory"):
        content("lists/list.csv", folder)


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("pipe", "it is a named pipe"),
        ("socket", "it is a socket"),
        ("directory", "it is a directory"),
        ("long", "it has more than 100 bytes"),
    ],
)
@pytest.mark.parametrize("confined", [True, False])
def test_what_is_no_file_is_refused_and_never_waited_for(
    kind: str, why: str, folder: Path, *, confined: bool
) -> None:
    path = folder / "a"
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "socket":
            with socket.socket(socket.AF_UNIX) as listening:
                listening.bind(str(path))
        case "directory":
            path.mkdir()
        case _:
            path.write_bytes(b"x" * 101)
    with pytest.raises(NoFileError, match=why):
        reading.read(path, 100, within=folder if confined else None)


def test_a_secret_that_is_linked_into_the_folder_is_not_read(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cret")
    (folder / "list.csv").hardlink_to(tmp_path / "secret")
    with pytest.raises(NoFileError, match=r"another name \(a hard link\); put a copy here"):
        reading.read(folder / "list.csv", 100, within=folder)
    assert reading.read(folder / "list.csv", 100) == b"s3cret"


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null", "/dev/tty"])
def test_a_device_is_no_file(device: str) -> None:
    with pytest.raises(NoFileError, match="it is a device"):
        reading.read(device, 100)


def test_a_pipe_that_a_shell_passes_is_read_to_its_end() -> None:
    end, writing = os.pipe()
    os.write(writing, b"email\n")
    os.close(writing)
    assert reading.read(f"/dev/fd/{end}", 100) == b"email\n"
    os.close(end)


@pytest.mark.parametrize("name", ["mailing.toml", "worker.toml"])
def test_a_settings_file_is_a_file_of_a_sensible_size(name: str, tmp_path: Path) -> None:
    load = loading.load if name == "mailing.toml" else loading.load_worker
    path = tmp_path / name
    os.mkfifo(path)
    with pytest.raises(ConfigurationError, match=f"{name}: cannot be read: it is a named pipe"):
        load(path)
    path.unlink()
    with path.open("wb") as file:
        file.truncate(loading.FILE_BYTES_MAX + 1)
    with pytest.raises(ConfigurationError, match="it has more than 8,388,608 bytes"):
        load(path)


def test_an_attachment_that_grows_is_read_no_further_than_a_message_may_be(folder: Path) -> None:
    path = folder / "a.pdf"
    path.write_bytes(b"small")
    attachment = Attachment(path=path)
    with path.open("r+b") as file:
        file.truncate(MESSAGE_BYTES_MAX)
    with pytest.raises(ConfigurationError, match=r"a\.pdf: it has more than 31,457,280 bytes"):
        attachment.request()
