"""install(): vecdb.milvus under pymilvus' name, for code that imports pymilvus itself."""

from __future__ import annotations

import importlib
import importlib.machinery
import sys
from types import ModuleType
from typing import Any, Dict

from . import exceptions

_saved: Dict[str, ModuleType] = {}


def _module(name: str, source: Any = None, **names: Any) -> ModuleType:
    module = ModuleType(name, f"vecdb.milvus, published as {name}")
    # Frameworks look packages up with find_spec() before they import them.
    module.__spec__ = importlib.machinery.ModuleSpec(name, None, is_package=True)
    module.__path__ = []
    if source is not None:
        for key in dir(source):
            if not key.startswith("__"):
                setattr(module, key, getattr(source, key))
    for key, value in names.items():
        setattr(module, key, value)
    return module


class _Absent:
    """A name of pymilvus that cannot be here: any use of it says so."""

    def __init__(self, name: str, what: str) -> None:
        self.__dict__.update(name=name, what=what)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise exceptions.unsupported(f"{self.name} ({self.what})")

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        raise exceptions.unsupported(f"{self.name}.{attribute} ({self.what})")


def _absent(module: str, what: str, *names: str) -> ModuleType:
    """A module that can be imported, so that its use is what fails, by name."""
    return _module(module, None, **{name: _Absent(name, what) for name in names})


def _modules() -> Dict[str, ModuleType]:
    """pymilvus and its submodules, by name."""
    root = importlib.import_module("vecdb.milvus")
    from . import _connections as connections
    from . import client, db, iterators, orm, results, schema, types, utility

    public = {name: getattr(root, name) for name in root.__all__}
    pymilvus = _module("pymilvus", None, **public)
    pymilvus._vecdb = True  # type: ignore[attr-defined]
    pymilvus.__version__ = root.__version__  # type: ignore[attr-defined]
    pymilvus.__getattr__ = root.__getattr__  # type: ignore[method-assign]
    return {
        "pymilvus": pymilvus,
        "pymilvus.exceptions": _module("pymilvus.exceptions", exceptions),
        "pymilvus.decorators": _module(
            "pymilvus.decorators", None, PyMilvusDeprecationWarning=root.PyMilvusDeprecationWarning
        ),
        "pymilvus.settings": _module("pymilvus.settings", None, Config=root.DefaultConfig),
        "pymilvus.client": _module("pymilvus.client", None, __version__=root.__version__),
        "pymilvus.client.types": _module(
            "pymilvus.client.types", types, ResourceGroupConfig=_Absent("ResourceGroupConfig", "resource groups")
        ),
        "pymilvus.client.abstract": _module(
            "pymilvus.client.abstract",
            schema,
            Hit=results.Hit,
            Hits=results.Hits,
            SearchResult=results.SearchResult,
            MutationResult=results.MutationResult,
        ),
        "pymilvus.client.search_result": _module("pymilvus.client.search_result", results),
        "pymilvus.client.search_iterator": _module("pymilvus.client.search_iterator", iterators),
        "pymilvus.client.constants": _module(
            "pymilvus.client.constants",
            None,
            DEFAULT_CONSISTENCY_LEVEL=types.ConsistencyLevel.Bounded,
            DEFAULT_RESOURCE_GROUP="__default_resource_group",
        ),
        "pymilvus.client.asynch": _module("pymilvus.client.asynch", results),
        "pymilvus.milvus_client": _module("pymilvus.milvus_client", client, IndexParams=schema.IndexParams),
        "pymilvus.milvus_client.milvus_client": _module("pymilvus.milvus_client.milvus_client", client),
        "pymilvus.milvus_client.async_milvus_client": _module("pymilvus.milvus_client.async_milvus_client", client),
        "pymilvus.milvus_client.index": _module(
            "pymilvus.milvus_client.index", None, IndexParam=schema.IndexParam, IndexParams=schema.IndexParams
        ),
        "pymilvus.client.embedding_list": _absent("pymilvus.client.embedding_list", "struct fields", "EmbeddingList"),
        "pymilvus.bulk_writer": _absent(
            "pymilvus.bulk_writer", "bulk import", "BulkFileType", "LocalBulkWriter", "RemoteBulkWriter", "VolumeBulkWriter",
            "VolumeFileManager", "VolumeManager", "bulk_import", "get_import_progress", "list_import_jobs",
        ),
        "pymilvus.bulk_writer.constants": _absent("pymilvus.bulk_writer.constants", "bulk import", "ConnectType"),
        "pymilvus.bulk_writer.volume_file_manager": _absent(
            "pymilvus.bulk_writer.volume_file_manager", "bulk import", "VolumeFileManager"
        ),
        "pymilvus.bulk_writer.volume_manager": _absent("pymilvus.bulk_writer.volume_manager", "bulk import", "VolumeManager"),
        "pymilvus.orm": _module("pymilvus.orm", None),
        "pymilvus.orm.collection": _module("pymilvus.orm.collection", orm, CollectionSchema=schema.CollectionSchema),
        "pymilvus.orm.connections": _module("pymilvus.orm.connections", connections),
        "pymilvus.orm.constants": _module("pymilvus.orm.constants", None, UNLIMITED=-1, MAX_BATCH_SIZE=iterators.MAX_BATCH),
        "pymilvus.orm.db": db,
        "pymilvus.orm.future": _module("pymilvus.orm.future", results),
        "pymilvus.orm.index": _module("pymilvus.orm.index", None, Index=orm.Index),
        "pymilvus.orm.iterator": _module("pymilvus.orm.iterator", iterators, SearchPage=results.SearchPage),
        "pymilvus.orm.mutation": _module("pymilvus.orm.mutation", None, MutationResult=results.MutationResult),
        "pymilvus.orm.partition": _module("pymilvus.orm.partition", None, Partition=orm.Partition),
        "pymilvus.orm.role": _module("pymilvus.orm.role", None, Role=root.Role),
        "pymilvus.orm.schema": _module("pymilvus.orm.schema", schema),
        "pymilvus.orm.types": _module("pymilvus.orm.types", types),
        "pymilvus.orm.utility": utility,
    }


def install() -> ModuleType:
    """Put vecdb.milvus into sys.modules as `pymilvus`; a real pymilvus is set aside until uninstall()."""
    current = sys.modules.get("pymilvus")
    if current is not None and getattr(current, "_vecdb", False):
        return current
    for name in [name for name in sys.modules if name == "pymilvus" or name.startswith("pymilvus.")]:
        _saved[name] = sys.modules.pop(name)
    from . import _connections, db, utility

    modules = _modules()
    for name, module in modules.items():
        sys.modules[name] = module
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(modules[parent], child, module)
    pymilvus = modules["pymilvus"]
    # These two are objects and functions in pymilvus, as well as modules below pymilvus.orm.
    pymilvus.connections = _connections.connections  # type: ignore[attr-defined]
    pymilvus.db, pymilvus.utility = db, utility  # type: ignore[attr-defined]
    return pymilvus


def publish() -> None:
    """Submodules that pymilvus has and vecdb.milvus has not, for imports of which only the first word was changed:
    from vecdb.milvus.client.types import LoadState."""
    root = __name__.rpartition(".")[0]
    for name, module in _modules().items():
        here = root + name[len("pymilvus") :]
        if here not in sys.modules:
            sys.modules[here] = module
            parent, _, child = here.rpartition(".")
            if not hasattr(sys.modules[parent], child):
                setattr(sys.modules[parent], child, module)


def uninstall() -> None:
    """Take the modules out again, and put a real pymilvus back."""
    for name in [name for name in sys.modules if name == "pymilvus" or name.startswith("pymilvus.")]:
        if name == "pymilvus" and not getattr(sys.modules[name], "_vecdb", False):
            return
        del sys.modules[name]
    sys.modules.update(_saved)
    _saved.clear()
