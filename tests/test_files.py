"""Files that are whole or not there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from rimer_forecaster.files import digest_of, write_whole


@pytest.mark.parametrize("fails", ["write", "replace"])
def test_a_file_that_cannot_be_written_leaves_the_old_one(
    fails: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_whole(tmp_path / "s", b"old")

    def full(*args: Any) -> None:
        if fails == "write":
            args[0].touch()
        raise OSError(28, "No space left on device", "a name that nobody gave")

    owner: Any = Path if fails == "write" else os
    monkeypatch.setattr(owner, "write_bytes" if fails == "write" else "replace", full)
    with pytest.raises(OSError, match=r"No space left on device; .*/s'$") as caught:
        write_whole(tmp_path / "s", b"new")
    assert caught.value.errno == 28
    assert [file.name for file in tmp_path.iterdir()] == ["s"]
    assert (tmp_path / "s").read_bytes() == b"old"


@pytest.mark.parametrize(
    ("tensor", "metadata"),
    [
        (("b", "torch.float32", [4], b"1234"), {"of": "me"}),
        (("a", "torch.int32", [4], b"1234"), {"of": "me"}),
        (("a", "torch.float32", [2, 2], b"1234"), {"of": "me"}),
        (("a", "torch.float32", [4], b"1235"), {"of": "me"}),
        (("a", "torch.float32", [4], b"1234"), {"of": "you"}),
    ],
)
def test_a_digest_is_of_all_that_is_in_a_file(
    tensor: tuple[str, str, list[int], bytes], metadata: dict[str, str]
) -> None:
    own = [("a", "torch.float32", [4], b"1234")]
    assert digest_of([tensor], metadata) != digest_of(own, {"of": "me"})


def test_a_digest_does_not_depend_on_order() -> None:
    tensors = [(name, "torch.int8", [1], name.encode()) for name in "ab"]
    assert digest_of(tensors, {"x": "1", "y": "2"}) == digest_of(
        tensors[::-1], {"y": "2", "x": "1"}
    )
