"""A throwaway one-node SLURM cluster for tests; `one_node.sh` starts and stops its daemons."""

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self

SCRIPT = Path(__file__).with_name("one_node.sh")
PROGRAMS = ("slurmctld", "slurmd", "slurmdbd", "munged", "mariadbd", "mariadb-install-db")


def missing() -> str:
    """Which programs of the cluster are not installed; empty if none."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    return ", ".join(name for name in PROGRAMS if shutil.which(name, path=path) is None)


@dataclass(frozen=True)
class Cluster:
    """A running cluster, with all that belongs to it in `folder`.

    Its daemons end with the process that started it, however that one ends.

    Examples
    --------
    >>> with Cluster.start() as cluster:  # doctest: +SKIP
    ...     cluster.call("sinfo").stdout
    """

    folder: Path

    @classmethod
    def start(cls, folder: Path | None = None, **settings: int | str) -> Self:
        """Start a cluster.

        Parameters
        ----------
        folder : path, optional
            Must be short, because a socket's path ends at 108 bytes; by default a new one.
        **settings
            Those of `one_node.sh`, in small letters: ``accounting="none"``, ``cpus=8``,
            ``gpus=2``, ``kill_wait=20``, and so on.
        """
        cluster = cls(folder or Path(tempfile.mkdtemp(prefix="slurm_", dir="/tmp")))
        chosen = {name.upper(): str(value) for name, value in settings.items()}
        cluster._control("start", OWNER=str(os.getpid()), **chosen)
        return cluster

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def env(self) -> dict[str, str]:
        """What a command needs in its environment to talk to this cluster."""
        return {
            "SLURM_CONF": str(self.folder / "etc" / "slurm.conf"),
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
        }

    def call(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command on the cluster's only node, as its user."""
        done = subprocess.run(
            command, env=os.environ | self.env, capture_output=True, text=True, check=False
        )
        if check and done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
        return done

    def stop(self) -> None:
        """End all jobs and daemons; the folder with the logs stays."""
        self._control("stop")

    def kill_controller(self) -> None:
        """End the controller with SIGKILL; jobs go on."""
        self._control("kill-controller")

    def start_controller(self) -> None:
        """Start the controller again and wait until it answers."""
        self._control("start-controller")

    def _control(self, verb: str, **settings: str) -> None:
        # Daemons would keep a pipe open, and reading it to its end would last as long as they do.
        with tempfile.TemporaryFile("w+") as told:
            done = subprocess.run(
                [str(SCRIPT), verb, str(self.folder)],
                env=os.environ | settings,
                stdin=subprocess.DEVNULL,
                stdout=told,
                stderr=subprocess.STDOUT,
                check=False,
            )
            told.seek(0)
            if done.returncode != 0:
                raise RuntimeError(f"{SCRIPT.name} {verb} {self.folder}: {told.read()}")
