"""The `dev` script on machines that lack things: a PATH made of a few links and stand-ins for what is outside the project."""

import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

DEV = Path(__file__).parents[2] / "dev"
SHELLS = [path for path in map(shutil.which, ("dash", "bash", "busybox", "zsh")) if path]


class Machine:
    """A PATH with the programs that every system has, and those that a test adds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "bin"
        self.folder.mkdir()
        self.dev = Path(shutil.copy(DEV, folder))
        for program in ("cat", "chmod", "dirname", "id", "mkdir", "uname"):
            (self.folder / program).symlink_to(shutil.which(program) or "")

    def add(self, program: str, script: str = "exit 0") -> None:
        path = self.folder / program
        path.unlink(missing_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def add_all_but(self, missing: str) -> None:
        for program in ("gpg", "zstd", "strace", "unshare", "chromium", "apt-get"):
            if program != missing:
                self.add(program)

    def run(self, shell: str, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        command = [shell, *(["sh"] if shell.endswith("busybox") else []), str(self.dev), *arguments]
        environ = {"PATH": str(self.folder), "HOME": os.environ["HOME"]}
        return subprocess.run(command, env=environ, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture(params=SHELLS, ids=lambda path: Path(path).name)
def shell(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_without_uv_and_python_it_says_what_to_install(machine: Machine, shell: str) -> None:
    done = machine.run(shell, "demo")
    assert done.returncode == 1
    assert "apt-get install python3 python3-venv" in done.stderr


def test_a_python_without_venv_names_debians_package(machine: Machine, shell: str) -> None:
    machine.add("python3", "exit 1")
    done = machine.run(shell, "demo")
    assert done.returncode == 1
    assert "python3-venv" in done.stderr
    assert not (machine.dev.parent / ".uv").exists()


def test_a_machine_with_python_alone_gets_a_private_uv_once(machine: Machine, shell: str) -> None:
    private_python = r"""
mkdir -p "$folder/bin"
printf '#!/bin/sh\necho "private uv: $*"\n' > "$folder/bin/uv"; chmod +x "$folder/bin/uv"
printf '#!/bin/sh\necho "pip: $*" >&2\n' > "$folder/bin/python"; chmod +x "$folder/bin/python"
"""
    machine.add("python3", f'[ "$2" = venv ] || exit 0\nfolder=$4\n{private_python}')
    first, second = machine.run(shell, "recoup", "version"), machine.run(shell, "recoup", "version")
    assert "install --quiet --disable-pip-version-check uv" in first.stderr
    assert first.stdout.startswith("private uv: run")
    assert (second.stdout, second.stderr) == (first.stdout, "")


def test_arguments_pass_through_and_the_working_folder_stays(machine: Machine, shell: str, tmp_path: Path) -> None:
    machine.add("uv", 'echo "$PWD"; for word in "$@"; do echo "<$word>"; done')
    done = machine.run(shell, "recoup", "backup", "--note", "two words", cwd=tmp_path)
    lines = done.stdout.splitlines()
    assert lines[0] == str(tmp_path)
    assert lines[-4:] == ["<recoup>", "<backup>", "<--note>", "<two words>"]
    assert "<--locked>" in lines


def test_arguments_of_test_go_to_pytest_after_the_checks(machine: Machine, shell: str) -> None:
    machine.add_all_but("")
    machine.add("uv", 'echo "$@"')
    done = machine.run(shell, "test", "-k", "x or y")
    ran = [line.split("--all-extras ")[1] for line in done.stdout.splitlines() if "--all-extras" in line]
    assert [line.split()[0] for line in ran] == ["ruff", "ruff", "mypy", "lint-imports", "pytest"]
    assert ran[-1].endswith(" -k x or y")


def test_a_failed_check_ends_the_test_command(machine: Machine, shell: str) -> None:
    machine.add_all_but("")
    machine.add("uv", 'case "$*" in *mypy*) exit 3;; *) echo "$*";; esac')
    done = machine.run(shell, "test")
    assert done.returncode == 3
    assert "--all-extras pytest" not in done.stdout


@pytest.mark.skipif(platform.system() != "Linux", reason="apt-get is Linux's")
def test_a_missing_program_is_named_with_the_line_to_type(machine: Machine, shell: str) -> None:
    machine.add_all_but("gpg")
    machine.add("uv")
    machine.add("id", "echo 1000")
    done = machine.run(shell, "test")
    assert done.returncode == 1
    assert "sudo apt-get install -y gnupg" in done.stderr


@pytest.mark.skipif(platform.system() != "Linux", reason="apt-get is Linux's")
def test_a_missing_browser_is_named_and_chrome_is_as_good(machine: Machine, shell: str) -> None:
    machine.add_all_but("chromium")
    machine.add("uv", "echo ran")
    machine.add("id", "echo 1000")
    without = machine.run(shell, "test")
    assert without.returncode == 1
    assert without.stderr.rstrip().endswith("sudo apt-get install -y chromium")
    machine.add("google-chrome")
    assert machine.run(shell, "test").returncode == 0


@pytest.mark.skipif(platform.system() != "Linux", reason="apt-get is Linux's")
def test_root_gets_the_missing_program_installed_and_a_failure_is_not_skipped(machine: Machine, shell: str) -> None:
    machine.add_all_but("gpg")
    machine.add("uv", "echo ran")
    machine.add("id", "echo 0")
    machine.add("apt-get", 'echo "apt-get $*"; case "$*" in *gnupg*) exit 100;; esac')
    done = machine.run(shell, "test")
    assert done.returncode == 1
    assert "install -y --no-install-recommends gnupg" in done.stderr
    assert "ran" not in done.stdout.splitlines()


def test_an_unknown_command_shows_the_usage(machine: Machine, shell: str) -> None:
    done = machine.run(shell, "deploy")
    assert done.returncode == 2
    assert "Usage: ./dev COMMAND" in done.stderr
