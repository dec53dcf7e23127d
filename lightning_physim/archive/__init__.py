"""Archives: the numbers of some runs in one file, which others read without this package.

An archive is a zip of tables as CSV, of what made each run, and of ``datapackage.json``. That file says what every
column is, as the Data Package standard has it (https://datapackage.org).
"""

from lightning_physim.archive.reading import Archive
from lightning_physim.archive.writing import write_archive

__all__ = ["Archive", "write_archive"]
