# SPDX-License-Identifier: LGPL-2.1-or-later
"""The guides for developers name files that exist."""
import re
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
GUIDES = ["man/coppice-internals.7.scd", ".github/CONTRIBUTING.md"]
FOLDERS = "store|snapshot|fs|tools|tests|man"
FILE = re.compile(rf"(?<![\w./-])(?:{FOLDERS})/[\w./-]*\w"
                  rf"\.(?:c|h|py|md|scd|bash|build)\b")
FOLDER = re.compile(rf"(?<![\w./-])(?:{FOLDERS})/(?:\w+/)*(?![\w*])")


@pytest.mark.parametrize("guide", GUIDES)
def test_named_files_exist(guide):
    text = (TOP / guide).read_text()
    # In a manual page _ begins and ends what is underlined.
    if guide.endswith(".scd"):
        text = re.sub(r"(?<!\w)_|_(?!\w)", " ", text)
    files = set(FILE.findall(text))
    assert len(files) > 10
    missing = sorted(name for name in files
                     if "NAME" not in name and not (TOP / name).is_file())
    assert not missing, f"{guide} names {missing}"
    folders = set(FOLDER.findall(text))
    missing = sorted(name for name in folders if not (TOP / name).is_dir())
    assert not missing, f"{guide} names {missing}"
