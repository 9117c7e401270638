"""Terms and methods of the literature, one family a file; every file of this folder is imported."""

from importlib import import_module
from pkgutil import iter_modules

for _found in iter_modules(__path__):
    import_module(f"{__name__}.{_found.name}")
