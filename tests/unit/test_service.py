"""conf/leveret.service: systemd accepts it, and its steps make what it names."""

import re
import subprocess
import sys
from pathlib import Path
from shutil import which

import pytest

from leveret.config_loading import load_config
from leveret.sample_configuration import sample_configuration
from tests.unit.source_tree import ROOT

TEXT = (ROOT / "conf/leveret.service").read_text("utf-8")


def settings(name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", TEXT, re.MULTILINE)


def test_its_steps_make_the_user_the_program_and_the_configuration(tmp_path: Path) -> None:
    steps = [line.removeprefix("#   ") for line in TEXT.splitlines() if line.startswith("#   ")]
    (start,) = settings("ExecStart")
    program, _, _, configuration = start.split()

    assert settings("User") == settings("StateDirectory") == ["leveret"]
    assert any(step.startswith("useradd ") and step.endswith(" leveret") for step in steps)
    assert f"python3 -m venv {Path(program).parents[1]}" in steps
    assert any(step.endswith(f"> {configuration}") for step in steps)


def test_its_configuration_has_the_directory_that_systemd_makes(tmp_path: Path) -> None:
    (pattern,) = re.findall(r"\| sed 's\|(.*)\|' >", TEXT)
    before, after = pattern.split("|")
    path = tmp_path / "leveret.toml"
    path.write_text(sample_configuration().replace(before, after))

    assert load_config(str(path)).storage.data_dir == "/var/lib/leveret"


@pytest.mark.skipif(which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_has_nothing_to_say_of_it(tmp_path: Path) -> None:
    unit = tmp_path / "leveret.service"
    (start,) = settings("ExecStart")
    unit.write_text(TEXT.replace(start.split()[0], sys.executable))

    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert [line for line in done.stderr.splitlines() if "leveret" in line] == []
