"""The functions of saelab.atomic, under the name that rooms above the store know them by."""

from saelab.atomic import as_disk_full, free_bytes, publish, require_free, sweep_tmp, write_bytes, write_json

__all__ = ["as_disk_full", "free_bytes", "publish", "require_free", "sweep_tmp", "write_bytes", "write_json"]
