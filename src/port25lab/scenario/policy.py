"""A policy: a folder with `policy.yaml` and native rules, read and checked before any lab starts.

In: a name of the catalogue or a folder. Out: a ``Policy``, plain data that crosses to a lab's process as JSON. Rules
keep their author's text. They are read here as iptables-restore reads them; iptables itself has the last word on each
rule when a lab loads it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator

from port25lab.errors import InputError
from port25lab.model.policy import Origin, Policy, Watch
from port25lab.model.service_kinds import SERVICE_KINDS, troubles
from port25lab.scenario import catalogue
from port25lab.scenario import document as document_module
from port25lab.scenario.document import Strict, wrong
from port25lab.scenario.own_service import with_own_files
from port25lab.scenario.rules_file import RULES_FILES, read_rules

NFT_FILE = "ruleset.nft"

SETS_FILE = "sets.ipset"
"""Sets that the policy brings itself, as `ipset save` prints them."""

SetName = Annotated[str, Field(min_length=1)]


class PolicyFile(Strict):
    """What stands in `policy.yaml`."""

    title: Annotated[str, Field(min_length=1)]
    description: str = ""
    source: str = ""
    sets: tuple[SetName, ...] = ()
    services: tuple[dict[str, Any], ...] = ()
    watch: Watch = "syn"

    @field_validator("sets", mode="after")
    @classmethod
    def _names_of_sets(cls, sets: tuple[str, ...]) -> tuple[str, ...]:
        for number, name in enumerate(sets):
            # ipset takes 31 characters, and one is ours: the 6 of IPv6.
            if not re.fullmatch(r"[A-Za-z0-9_.-]{1,30}", name):
                wrong(f"{name!r} is no name for a set", "1 to 30 letters, digits and _ . -", number)
            if name in sets[:number]:
                wrong(f"the set {name!r} is named twice", "each set once", number)
        return sets


def schema() -> dict[str, Any]:
    """JSON Schema of ``policy.yaml``, for editors and validators."""
    made = PolicyFile.model_json_schema()
    made["properties"]["services"]["items"] = {
        "type": "object",
        "properties": {"kind": {"enum": sorted(SERVICE_KINDS)}},
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}


def load_policy(name_or_path: str, relative_to: Path | None = None, origin: Origin = "user") -> Policy:
    """Read a policy from the catalogue or from a folder.

    Args:
        name_or_path: A name of the catalogue, or a folder.
        relative_to: The file that names the policy: a relative folder is looked up beside it.
        origin: Whether the policy is under test, or belongs to the network itself.

    Raises: InputError ``FILE:LINE:COLUMN`` for the first thing that is wrong in it.
    """
    folder = catalogue.find("policies", name_or_path, relative_to)
    names = ("policy.yaml", NFT_FILE, SETS_FILE, *RULES_FILES.values())
    stamps = tuple(_stamp(folder / name) for name in names)
    return _load(folder, folder.absolute(), origin, stamps)


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=256)
def _load(folder: Path, absolute: Path, origin: Origin, stamps: object) -> Policy:
    """A lab asks for the same few policies again and again: each is read once, until one of its files changes."""
    if not (folder / "policy.yaml").exists():
        what = "the folder of a policy has no policy.yaml"
        raise InputError(what, allowed="one with a line `title: TEXT` at least", file=folder)
    document = document_module.read_yaml(folder / "policy.yaml")
    head = document_module.validated(document, PolicyFile)
    services = tuple(with_own_files(head.services, folder / "policy.yaml"))
    for number, service in enumerate(services):
        for trouble in troubles(service):
            keys = () if trouble.parameter is None else (trouble.parameter,)
            raise document.error(trouble.what, trouble.allowed, "services", number, *keys)
    if (folder / NFT_FILE).exists():
        raise InputError(
            "native nftables rulesets are not supported yet", allowed="rules.v4 and rules.v6", file=folder / NFT_FILE
        )
    ipset = document_module.read_text(folder / SETS_FILE) if (folder / SETS_FILE).exists() else ""
    saved = [words[1] for line in ipset.splitlines() if (words := line.split())[:1] == ["create"] and words[1:]]
    files = [(family, folder / file) for family, file in RULES_FILES.items() if (folder / file).exists()]
    if not files and not services:
        others = ", ".join(sorted(one.name for one in folder.glob("*rules*")))
        found = f"; {others} is not read" if others else ""
        raise InputError(f"the policy has no rules{found}", allowed="rules.v4, rules.v6 or both", file=folder)
    return Policy(
        name=absolute.name,
        folder=folder,
        title=head.title,
        description=head.description.strip(),
        source=head.source.strip(),
        sets=head.sets,
        rules_files=tuple(read_rules(family, file, head.sets, saved) for family, file in files),
        ipset=ipset,
        services=services,
        watch=head.watch,
        origin=origin,
    )
