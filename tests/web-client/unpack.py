"""Unpacks the front end of a package: `unpack.py DIRECTORY`, which contains its wheel. The wheel is then deleted."""

import pathlib
import sys
import zipfile

FRONT_END = "open_webui/frontend/"

directory = pathlib.Path(sys.argv[1])
[wheel] = directory.glob("open_webui-*.whl")
with zipfile.ZipFile(wheel) as archive:
    archive.extractall(directory, [name for name in archive.namelist() if name.startswith(FRONT_END)])
wheel.unlink()
