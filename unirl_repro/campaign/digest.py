"""SHA-256 of images, which goes into manifests; each is read once.

As a command, it prints the digest of the image at a path.
"""

import hashlib
import json
import sys
from pathlib import Path

from unirl_repro.files import write_json

RECORDS = Path("results/container/digests.json")


def digest(image: Path, records: Path = RECORDS) -> str:
    """SHA-256 of an image, as ``sha256:...``; read anew when its size or its time is another one.

    Parameters
    ----------
    image : Path
        A file, or a link to one.
    records : Path
        Where digests are kept. Several processes may write there: the last one wins, and what it
        does not know is read anew.
    """
    try:
        known = json.loads(records.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        known = {}
    path, stat = image.resolve(), image.stat()
    key = [stat.st_size, stat.st_mtime_ns]
    if known.get(str(path), {}).get("key") != key:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        known[str(path)] = {"key": key, "digest": f"sha256:{found}"}
        records.parent.mkdir(parents=True, exist_ok=True)
        write_json(records, known)
    return known[str(path)]["digest"]


if __name__ == "__main__":
    print(digest(Path(sys.argv[1])))
