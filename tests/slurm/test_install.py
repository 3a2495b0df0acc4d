"""scripts/slurm.sh on a machine that lacks SLURM, with stand-ins for its tools."""

from tests.test_setup import RECORD, checkout  # noqa: F401
from tests.test_setup import Checkout as Machine

PROGRAMS = ["slurmctld", "slurmd", "slurmdbd", "munged", "mariadbd", "mariadb-install-db"]
PROGRAMS += ["mariadb", "sbatch", "srun", "sacct"]
INSTALL = f'for t in {" ".join(PROGRAMS)}; do ln -sf "$(type -P bash)" "${{0%/*}}/$t"; done\n'


def test_slurm_without_the_right_to_install_is_a_message(checkout: Machine):  # noqa: F811
    checkout.tool("apt-get", RECORD)
    result = checkout.run("scripts/slurm.sh")
    assert result.returncode == 1
    assert "apt-get install --no-install-recommends slurm-wlm slurmdbd munge" in result.stderr
    assert checkout.calls == []


def test_slurm_is_installed_by_root_once(checkout: Machine):  # noqa: F811
    checkout.tool("id", "#!/usr/bin/env bash\necho 0\n")
    checkout.tool("apt-get", RECORD + INSTALL)
    result = checkout.run("scripts/slurm.sh")
    assert result.returncode == 0, result.stderr
    assert checkout.calls[-1].endswith("slurmdbd munge mariadb-server-core mariadb-client-core")
    again = checkout.run("scripts/slurm.sh")
    assert (again.returncode, again.stdout, checkout.calls) == (0, "", [])
