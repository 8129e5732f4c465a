"""The memory of the machine or container, and `memory.limit`."""

import os
from pathlib import Path

import pytest

from leveret.memory import memory_limit_bytes, memory_total_bytes, parse_memory_limit

MACHINE_BYTES = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
MIB = 1024 * 1024


def total_with(tmp_path: Path, own_cgroups: str, limits: dict[str, str]) -> int:
    """The memory in a container with these files of the kernel."""
    root = tmp_path / "cgroup"
    for name, text in limits.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    own = tmp_path / "own"
    own.write_text(own_cgroups)
    return memory_total_bytes(root, own)


@pytest.mark.parametrize(
    ("limit", "parsed"),
    [
        ("40%", (0.4, True)),
        ("0.5 %", (0.005, True)),
        ("100%", (1.0, True)),
        (2_000_000, (2_000_000, False)),
        ("2000000", (2_000_000, False)),
        ("2GiB", (2 * 1024**3, False)),
        ("2gib", (2 * 1024**3, False)),
        ("1.5 GB", (1_500_000_000, False)),
        ("512MiB", (512 * MIB, False)),
        ("1 kB", (1000, False)),
    ],
)
def test_a_limit_is_a_share_or_a_size(limit: int | str, parsed: tuple[float, bool]) -> None:
    assert parse_memory_limit(limit) == parsed


@pytest.mark.parametrize(
    "limit", ["", "%", "0%", "101%", "-1", -1, 0, "0.4", "2 G", "1e9", "much", "2GiB 2", "²GB"]
)
def test_anything_else_is_refused(limit: int | str) -> None:
    with pytest.raises(ValueError, match=r"limit|share|size|byte"):
        parse_memory_limit(limit)


def test_a_share_is_a_share_of_all_memory() -> None:
    assert memory_limit_bytes("50%") == memory_total_bytes() // 2
    assert memory_limit_bytes("2MiB") == 2 * MIB


def test_without_a_control_group_the_limit_is_the_machine(tmp_path: Path) -> None:
    assert memory_total_bytes(tmp_path / "none", tmp_path / "none") == MACHINE_BYTES


def test_a_group_of_version_2_limits_it(tmp_path: Path) -> None:
    total = total_with(tmp_path, "0::/app\n", {"app/memory.max": f"{64 * MIB}\n"})

    assert total == 64 * MIB


def test_a_container_that_sees_its_group_as_the_root_is_limited(tmp_path: Path) -> None:
    total = total_with(tmp_path, "0::/docker/abc\n", {"memory.max": f"{64 * MIB}\n"})

    assert total == 64 * MIB


def test_the_smallest_limit_of_the_groups_above_counts(tmp_path: Path) -> None:
    limits = {"a/memory.max": f"{32 * MIB}\n", "a/b/memory.max": "max\n", "memory.max": "max\n"}

    assert total_with(tmp_path, "0::/a/b\n", limits) == 32 * MIB


def test_a_group_of_version_1_limits_it(tmp_path: Path) -> None:
    total = total_with(
        tmp_path,
        "5:cpu,cpuacct:/app\n4:memory:/app\n",
        {"memory/app/memory.limit_in_bytes": f"{48 * MIB}\n"},
    )

    assert total == 48 * MIB


def test_version_1_without_a_limit_is_the_machine(tmp_path: Path) -> None:
    total = total_with(
        tmp_path, "4:memory:/\n", {"memory/memory.limit_in_bytes": "9223372036854771712\n"}
    )

    assert total == MACHINE_BYTES
