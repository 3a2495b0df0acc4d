"""Where this machine takes packages from; a build starts without that knowledge.

Addresses may hold a password. They reach the build in a file of its own, since its arguments stay
readable in the image.
"""

import ast
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

DEBIAN = "http://deb.debian.org/debian"
RELEASE = Path("/etc/os-release")
# Option of pip -> uv's variable, and what separates its values.
SOURCES = {
    "index-url": ("UV_INDEX_URL", " "),
    "extra-index-url": ("UV_EXTRA_INDEX_URL", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "trusted-host": ("UV_INSECURE_HOST", " "),
}
PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


def pip_settings() -> dict[str, list[str]]:
    """Indexes, folders and certificates that pip is configured with, by option."""
    told = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"],
        capture_output=True,
        text=True,
        check=False,
    )
    found: dict[str, list[str]] = {}
    for line in told.stdout.splitlines():  # such as  global.find-links='/a /b'
        key, _, value = line.partition("=")
        option = key.rpartition(".")[2]
        if option in (*SOURCES, "cert"):
            values = found.setdefault(option, [])
            values += [each for each in ast.literal_eval(value).split() if each not in values]
    return found


def network_script(settings: dict[str, list[str]], pip_options: str) -> str:
    """What a build sources: proxies, and indexes as variables of pip and uv.

    Parameters
    ----------
    settings : dict
        From `pip_settings`.
    pip_options : str
        Options of pip and uv that replace the configured indexes, if not empty.
    """
    variables = {name: os.environ[name] for name in PROXIES if name in os.environ}
    if not pip_options:
        for option, (name, separator) in SOURCES.items():
            if values := settings.get(option):
                variables[f"PIP_{option.upper().replace('-', '_')}"] = " ".join(values)
                variables[name] = separator.join(values)
    lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    return "\n".join([*lines, f"pip_options={shlex.quote(pip_options)}", ""])


def folders(settings: dict[str, list[str]]) -> list[str]:
    """Local folders among the sources; packages of an index lie above its list of names."""
    found = []
    for option in SOURCES:
        for value in settings.get(option, []):
            path = urlsplit(value).path if value.startswith("file:") else value
            if Path(path).is_absolute() and Path(path).is_dir():
                found.append(path if option == "find-links" else str(Path(path).parent))
    return list(dict.fromkeys(found))


def debian_mirror() -> str:
    """Mirror that this machine takes Debian from; Debian's public one if it is another system."""
    lines = RELEASE.read_text().splitlines() if RELEASE.exists() else []
    if "ID=debian" not in lines or shutil.which("apt-get") is None:
        return DEBIAN
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=False,
    )
    sites = [site for site in listed.stdout.split() if site.rstrip("/").endswith("/debian")]
    return sites[0] if sites else DEBIAN
