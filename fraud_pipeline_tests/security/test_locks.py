"""What is installed is what was locked: each file of each dependency by its hash."""

import re
import tomllib
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
LOCKS = sorted((PROJECT / "requirements").glob("*.lock"))
INSTALLERS = (PROJECT / "Makefile", PROJECT / "deploy" / "Dockerfile")


def requirements(lock: Path) -> dict[str, str]:
    """Whole requirements of a lock file, by name in its normal form."""
    text = re.sub(r"\s*#.*", "", lock.read_text()).replace("\\\n", " ")
    entries = [line.strip() for line in text.splitlines() if line.strip()]
    return {re.split(r"[=\[; ]", entry)[0].lower().replace("_", "-"): entry for entry in entries}


def test_there_are_lock_files_for_the_installer_the_program_and_development() -> None:
    assert [lock.stem for lock in LOCKS] == ["dev", "installer", "runtime"]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_requirement_is_one_version_with_hashes(lock: Path) -> None:
    found = requirements(lock)
    assert found
    pinned = re.compile(r"[\w.-]+(\[[\w,-]+\])?==[^\s;]+( ;.*?)?(\s+--hash=sha256:[0-9a-f]{64})+")
    assert [entry[:80] for entry in found.values() if not pinned.fullmatch(entry)] == []


def test_a_requirement_without_a_hash_would_be_found(tmp_path: Path) -> None:
    lock = tmp_path / "bad.lock"
    lock.write_text("numpy==2.0 \\\n    --hash=sha256:" + "0" * 64 + "\npandas==3.0\n")
    with pytest.raises(AssertionError, match=re.escape("pandas==3.0")):
        test_every_requirement_is_one_version_with_hashes(lock)


def test_the_locks_hold_what_the_project_asks_for() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    asked = {
        "runtime": project["project"]["dependencies"],
        "dev": project["project"]["dependencies"] + project["dependency-groups"]["dev"],
    }
    for lock in LOCKS:
        names = {re.split(r"[<>=\[;~! ]", each)[0].lower().replace("_", "-") for each in asked.get(lock.stem, ())}
        assert names - requirements(lock).keys() == set(), lock.name


@pytest.mark.parametrize("file", INSTALLERS, ids=lambda file: file.name)
def test_everything_is_installed_by_hash_or_is_this_project_itself(file: Path) -> None:
    commands = re.findall(r"pip install\b[^\n&]*", file.read_text())
    assert commands
    for command in commands:
        assert "--require-hashes -r requirements/" in command or re.search(r"--no-deps (--editable )?\.", command)
