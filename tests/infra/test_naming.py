from __future__ import annotations

import ast
import re
from pathlib import Path

from infra import naming

INFRA = Path(naming.__file__).parent


def test_every_name_is_a_dns_label() -> None:
    names = [value for key, value in vars(naming).items() if key.isupper()]
    assert names
    assert all(re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", name) for name in names)


def test_hosts_are_reached_by_names_that_hold_in_every_namespace() -> None:
    assert naming.object_store_host() == "rook-ceph-rgw-packs.rook-ceph.svc"
    assert naming.database_host() == "index-rw.pacs.svc"


def test_no_module_here_hides_a_standard_one() -> None:
    """Pulumi puts infra/ first on the module path when it runs the program."""
    import sys  # noqa: PLC0415

    here = {path.stem for path in INFRA.glob("*.py")} | {
        path.name for path in INFRA.iterdir() if path.is_dir()
    }
    assert here & set(sys.stdlib_module_names) == {"__main__"} & set(sys.stdlib_module_names)


def test_the_program_file_loads_builds_and_exports_and_does_nothing_else() -> None:
    tree = ast.parse((INFRA / "__main__.py").read_text(encoding="utf-8"))
    statements = [type(node).__name__ for node in tree.body]
    assert statements == ["Expr", "ImportFrom", "ImportFrom", "Expr"]
