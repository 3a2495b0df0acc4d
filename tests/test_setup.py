"""The lock file, the set-up scripts, the Makefile and the README, as a user meets them.

The scripts run in a copy of the files that they read, with stand-ins for Python, apt-get and Snakemake that write
down how they were called; only tools named here are on the PATH. The real set-up is what these tests run in.
"""

import os
import re
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
TOOLS = ["awk", "bash", "basename", "cat", "cut", "dirname", "env", "grep", "id", "ln", "mkdir"]
TOOLS += ["mktemp", "realpath", "rm", "sed", "sha256sum", "tail"]

PYTHON = r"""#!/usr/bin/env bash
all="$*"
case "$*" in
    *ensurepip*) [ -z "${NO_VENV_MODULE:-}" ] ;;
    *version_info*)
        self=$(realpath "$0")
        case $self in *3.12) echo 3.12 ;; *) echo "${VERSION:-3.11}" ;; esac ;;
    *metadata*) cat ".venv/${all##* }" ;;
    "-m venv"*)
        rm -rf .venv && mkdir -p .venv/bin
        ln -s "$(realpath "$0")" .venv/bin/python
        ln -s "$(dirname "$(realpath "$0")")/fake-uv" .venv/bin/uv
        echo "venv" >> "$CALLS" ;;
    "-m pip"*)
        echo "pip ${all#*install }" >> "$CALLS"
        case "$all" in *uv.lock) sed -n "s/^uv==\\([^ ]*\\).*/\\1/p" requirements.lock > .venv/uv ;; esac
        case "$*" in
            *torch==*--index-url* | *--index-url*torch==*) [ -z "${NO_INDEX_TORCH:-}" ] || exit 1 ;;
            *torch==*) [ -z "${NO_LOCAL_TORCH:-}" ] || exit 1 ;;
        esac
        case "$*" in *torch==*) echo "${all##*torch==}" > .venv/torch ;; esac ;;
esac
"""
UV = r"""#!/usr/bin/env bash
all="$*"
echo "uv $*" >> "$CALLS"
case "$*" in
    *uninstall*torch*) rm .venv/torch ;;
    *"-r "*) [ -z "${LOCK_FAILS:-}" ] || exit 1
        lock="${all##*-r }"
        if grep -q "^torch==[^ +]* ; os_name" "$lock"; then echo 2.13.0 > .venv/torch; fi ;;
esac
"""
RECORD = '#!/usr/bin/env bash\necho "$(basename "$0") $*" >> "$CALLS"\n'


class Checkout:
    """A copy of the scripts and of what they read, on a PATH with nothing else."""

    def __init__(self, root: Path):
        self.root, self.bin, self.calls_file = root, root / "tools", root / "calls"
        shutil.copytree(ROOT / "scripts", root / "scripts")
        for name in ("requirements.lock", "pyproject.toml"):
            shutil.copy(ROOT / name, root)
        self.bin.mkdir()
        for name in TOOLS:
            (self.bin / name).symlink_to(str(shutil.which(name)))
        self.tool("python3", PYTHON)
        self.tool("fake-uv", UV)

    def tool(self, name: str, text: str) -> None:
        path = self.bin / name
        path.unlink(missing_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        self.calls_file.write_text("")
        known = {"PATH": str(self.bin), "CALLS": str(self.calls_file), "HOME": str(self.root)}
        return subprocess.run(
            [str(self.bin / "bash"), *command],
            cwd=self.root,
            env=known | environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def setup(self, **environment: str) -> subprocess.CompletedProcess[str]:
        return self.run("scripts/setup.sh", **environment)

    @property
    def calls(self) -> list[str]:
        return self.calls_file.read_text().splitlines()


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    checkout = Checkout(tmp_path)
    checkout.tool("id", "#!/usr/bin/env bash\necho 1000\n")  # not root, unless a test says so
    return checkout


def locked() -> list[tuple[Requirement, int]]:
    """Each requirement of the lock, with the number of its hashes."""
    blocks = re.findall(r"^(\w.*)\n((?:    .*\n)*)", (ROOT / "requirements.lock").read_text(), re.M)
    return [(Requirement(head.rstrip(" \\")), rest.count("--hash=")) for head, rest in blocks]


def wanted(extra: str) -> dict[str, Requirement]:
    """What set-up installs here: the lines whose marker holds, with their exact versions."""
    lines = [r for r, _ in locked() if r.marker is None or r.marker.evaluate({"extra": extra})]
    return {canonicalize_name(line.name): line for line in lines}


def test_what_is_installed_is_what_the_lock_says():
    target = "cpu" if version("torch").endswith("+cpu") else "cuda"
    wrong = {
        name: version(name)
        for name, requirement in wanted(target).items()
        if version(name) not in requirement.specifier
    }
    assert not wrong


def test_the_lock_has_all_that_is_asked_for():
    lines = (ROOT / "requirements.in").read_text().splitlines()
    asked = [Requirement(line.split("#")[0]) for line in lines if line.split("#")[0].strip()]
    assert len(asked) > 20
    held = wanted("cuda")
    for requirement in asked:
        pin = str(held[canonicalize_name(requirement.name)].specifier).removeprefix("==")
        assert pin in requirement.specifier, f"{requirement} is locked at {pin}: run `make lock`"


def test_all_lines_but_the_cpu_build_of_torch_have_hashes():
    bare = [str(requirement) for requirement, hashes in locked() if hashes == 0]
    assert bare == ['torch==2.13.0+cpu; extra == "cpu"']


def test_the_cpu_target_brings_no_cuda():
    cuda = re.compile(r"torch|triton|nvidia-.*|cuda-.*")
    assert not [name for name in wanted("") if cuda.fullmatch(name)]
    assert [name for name in wanted("cpu") if cuda.fullmatch(name)] == ["torch"]
    assert str(wanted("cpu")["torch"].specifier) == "==2.13.0+cpu"
    assert {"torch", "triton", "nvidia-cublas"} <= wanted("cuda").keys()


def test_set_up_installs_once(checkout: Checkout):
    first = checkout.setup()
    assert first.returncode == 0, first.stderr
    assert [call.split()[0] for call in checkout.calls] == ["venv", "pip", "pip", "uv", "uv"]
    assert "--require-hashes" in checkout.calls[1]
    assert checkout.calls[2] == "pip --quiet --no-deps torch==2.13.0+cpu"
    assert "--no-deps --require-hashes -r requirements.lock" in checkout.calls[3]
    second = checkout.setup()
    assert (second.returncode, checkout.calls) == (0, [])
    assert "up to date" in second.stdout


def test_a_changed_lock_is_installed_into_the_same_venv(checkout: Checkout):
    checkout.setup()
    with (checkout.root / "requirements.lock").open("a") as lock:
        lock.write("# changed\n")
    assert "up to date" not in checkout.setup().stdout
    assert [call.split()[0] for call in checkout.calls] == ["uv", "uv"]  # pip has nothing to do


def test_an_interrupted_set_up_is_not_taken_for_done(checkout: Checkout):
    assert checkout.setup(LOCK_FAILS="1").returncode != 0
    assert checkout.setup().returncode == 0
    assert any("requirements.lock" in call for call in checkout.calls)
    assert "up to date" in checkout.setup().stdout


def test_another_python_gets_a_new_venv_and_is_remembered(checkout: Checkout):
    checkout.setup()
    checkout.tool("python3.12", PYTHON)
    checkout.setup(PYTHON="python3.12")
    assert checkout.calls[0] == "venv"
    assert "Python 3.12" in checkout.setup().stdout
    assert checkout.calls == []


def test_a_venv_whose_python_is_gone_is_made_anew(checkout: Checkout):
    checkout.setup()
    (checkout.root / ".venv/bin/python").unlink()
    assert checkout.setup().returncode == 0
    assert checkout.calls[0] == "venv"


def test_the_build_of_torch_is_remembered_and_swapped(checkout: Checkout):
    checkout.setup()
    assert checkout.setup(TORCH="cuda").returncode == 0
    assert "uv pip uninstall --quiet torch" in checkout.calls  # the CPU build would satisfy 2.13.0
    assert not [call for call in checkout.calls if "torch==" in call]
    assert (checkout.root / ".venv/torch").read_text().strip() == "2.13.0"
    assert "torch for cuda" in checkout.setup().stdout
    assert checkout.calls == []
    checkout.setup(TORCH="cpu")
    assert (checkout.root / ".venv/torch").read_text().strip() == "2.13.0+cpu"


def test_the_cpu_build_comes_from_pytorch_where_no_index_has_it(checkout: Checkout):
    assert checkout.setup(NO_LOCAL_TORCH="1").returncode == 0
    torch = [call for call in checkout.calls if "torch==" in call]
    assert len(torch) == 2
    assert all(call.endswith(" torch==2.13.0+cpu") for call in torch)  # never the CUDA wheel
    assert "--index-url https://download.pytorch.org/whl/cpu" in torch[1]


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"TORCH": "gpu"}, "TORCH is 'gpu'. Allowed: cpu, cuda."),
        ({"VERSION": "3.13"}, "'python3' is Python 3.13. Allowed: 3.11, 3.12."),
        ({"PYTHON": "python9"}, "'python9' does not run."),
        ({"NO_VENV_MODULE": "1"}, "apt-get install python3.11-venv"),
        ({"NO_LOCAL_TORCH": "1", "NO_INDEX_TORCH": "1"}, "UNIRL_TORCH_INDEX=URL make setup"),
    ],
)
def test_a_failed_set_up_says_what_to_do(checkout: Checkout, environment, says):
    result = checkout.setup(**environment)
    assert result.returncode == 1
    assert says in result.stderr


def with_latex(checkout: Checkout) -> None:
    for name in ("latexmk", "pdflatex", "kpsewhich"):
        checkout.tool(name, RECORD)


def test_latex_that_is_there_is_left_alone(checkout: Checkout):
    with_latex(checkout)
    result = checkout.run("scripts/latex.sh")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_latex_without_the_right_to_install_is_a_message(checkout: Checkout):
    checkout.tool("apt-get", RECORD)
    result = checkout.run("scripts/latex.sh")
    assert result.returncode == 1
    assert "apt-get install --no-install-recommends latexmk" in result.stderr
    assert checkout.calls == []


def test_sudo_is_used_only_where_it_asks_for_no_password(checkout: Checkout):
    checkout.tool("apt-get", RECORD)
    checkout.tool("sudo", RECORD + "exit 1\n")
    assert checkout.run("scripts/latex.sh").returncode == 1
    assert checkout.calls == ["sudo -n true"]


def test_latex_is_installed_by_root(checkout: Checkout):
    checkout.tool("id", "#!/usr/bin/env bash\necho 0\n")
    install = (
        'for t in latexmk pdflatex kpsewhich; do ln -sf "$(type -P true)" "${0%/*}/$t"; done\n'
    )
    (checkout.bin / "true").symlink_to(str(shutil.which("true")))
    checkout.tool("apt-get", RECORD + install)
    result = checkout.run("scripts/latex.sh")
    assert result.returncode == 0, result.stderr
    assert checkout.calls[-1].endswith("latexmk texlive-latex-recommended texlive-science lmodern")


def test_the_report_names_its_pdf(checkout: Checkout):
    with_latex(checkout)
    checkout.tool("snakemake", RECORD)
    result = checkout.run("scripts/report.sh", "quick", "paper")
    assert "snakemake -c2 paper --config scale=quick" in checkout.calls
    assert result.stdout.endswith("results/quick/paper.pdf\n")


def test_the_report_without_latex_is_everything_but_the_pdf(checkout: Checkout):
    checkout.tool("snakemake", RECORD)
    result = checkout.run("scripts/report.sh", "quick", "paper")
    assert result.returncode == 0
    assert checkout.calls == ["snakemake -c2 figures tables --config scale=quick"]
    assert "results/quick/paper.pdf is not built: install LaTeX" in result.stdout


def test_without_latex_the_report_of_recorded_runs_trains_nothing_either(checkout: Checkout):
    checkout.tool("snakemake", RECORD)
    checkout.run("scripts/report.sh", "paper", "paper_partial")
    assert checkout.calls == ["snakemake -c2 figures_partial tables_partial --config scale=paper"]


def test_a_failed_build_fails_the_report(checkout: Checkout):
    with_latex(checkout)
    checkout.tool("snakemake", RECORD + "exit 1\n")
    result = checkout.run("scripts/report.sh", "quick", "paper")
    assert result.returncode == 1
    assert "the report is" not in result.stdout


def make(*arguments: str) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
    command = ["make", "--no-print-directory", "-C", str(ROOT), *arguments]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True
    ).stdout


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))


def test_make_alone_lists_every_target():
    listed = [line.split()[1] for line in make().splitlines()]
    assert sorted(listed) == sorted(targets())


def test_ci_calls_targets_that_exist():
    called = re.findall(r"^make (\S+)$", (ROOT / ".ci/run").read_text(), re.M)
    assert called == ["setup", "lint", "test", "test-full"]
    assert set(called) <= targets()


def test_each_target_plans_and_has_at_most_three_lines():
    recipes = re.split(r"\n(?=[a-z-]+:)", (ROOT / "Makefile").read_text())[1:]
    assert max(recipe.count("\n\t") for recipe in recipes) <= 3
    for target in targets():
        assert make("-n", target).strip(), target


def test_readme_names_targets_and_files_that_exist():
    readme = (ROOT / "README.md").read_text()
    named = set(re.findall(r"(?:`|&& |^)make ([a-z-]+)", readme, re.M))
    assert {"reproduce", "test"} <= named <= targets()
    links = [link for link in re.findall(r"\]\(([^)]+)\)", readme) if "://" not in link]
    assert links
    assert not [link for link in links if not (ROOT / link).exists()]


def test_no_section_of_the_readme_is_longer_than_a_screen():
    sections = re.split(r"^#+ (?=[A-Z])", (ROOT / "README.md").read_text(), flags=re.M)
    assert len(sections) > 5
    assert max(section.count("\n") for section in sections) <= 40
