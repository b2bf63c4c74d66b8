"""The image of a virtual machine, made from Debian packages, and packed as a box for Vagrant. Part of scripts/vm."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent
GUEST = SCRIPTS / "vm-guest"
LACKING = 3
MEBIBYTE = 1 << 20
DISK = 12 << 30
"""The size of the disk in bytes. Its file grows as it is written to."""
OWN_AUTHORITIES = Path("/usr/local/share/ca-certificates")
"""What an administrator has added to the trusted certificate authorities: a proxy's, for example."""


@dataclass(frozen=True)
class Release:
    """A release of Debian."""

    number: int
    suite: str
    packages: tuple[str, ...]
    """What only this release has, or needs."""
    backports: bool = False
    """With the kernel of its backports, which is newer."""

    @property
    def name(self) -> str:
        return f"debian{self.number}{'-backports' if self.backports else ''}"


RELEASES = {
    12: Release(12, "bookworm", ("isc-dhcp-client",)),
    13: Release(13, "trixie", ("dhcpcd-base",)),
}
MIRROR = "http://deb.debian.org/debian"
BACKPORTS = """
echo "deb {mirror} {suite}-backports main" >"$1/etc/apt/sources.list.d/backports.list"
printf 'Package: linux-image-* linux-base\\nPin: release n=%s-backports\\nPin-Priority: 900\\n' {suite} \\
    >"$1/etc/apt/preferences.d/backports"
"""
"""Run by sh before packages are installed; ``$1``: the root folder. Only the kernel is taken from there."""
PACKAGES = (
    *("linux-image-amd64", "initramfs-tools", "grub-pc-bin", "systemd-sysv", "dbus", "udev", "kmod"),
    *("ifupdown", "iproute2", "openssh-server", "sudo", "rsync", "ca-certificates", "debconf"),
)
"""What makes a machine of a root folder, and what Vagrant needs. `scripts/setup packages` names the rest."""

BOX_FILE = """\
Vagrant.configure("2") do |config|
  config.ssh.private_key_path = File.expand_path("key", __dir__)
  config.ssh.insert_key = false
end
"""
"""The box's own Vagrantfile. The key was made with the box, and no other machine has it."""


class VmError(Exception):
    """Ends the script with one line and an exit code."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


def say(text: str) -> None:
    """Print a line of progress."""
    print(f"vm: {text}", file=sys.stderr, flush=True)


def own_authorities() -> list[Path]:
    """Certificates that the machine trusts as this one does."""
    return sorted(OWN_AUTHORITIES.glob("*.crt"))


def setup_packages() -> list[str]:
    """The Debian packages that the project's own set-up would install."""
    listed = subprocess.run([SCRIPTS / "setup", "packages", "dev", "real"], stdout=subprocess.PIPE, check=True)
    return listed.stdout.decode().split()


def recipe(release: Release, packages: list[str]) -> str:
    """A name for machines with the same content: another is made where packages or settings have changed."""
    parts = [GUEST.read_text(encoding="utf-8"), release.suite, *PACKAGES, *release.packages, *packages]
    parts += [file.read_text(encoding="utf-8") for file in own_authorities()]
    return f"{release.name}-{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:12]}"


def cache() -> Path:
    """Where machines are kept, in a folder that only this user can open: each has its private key beside it."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "port25lab" / "vm"
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    return folder


def checked(argv: list[str | Path], log: Path, stdin: str | None = None) -> None:
    """Run a program. Its output goes to the log, and is shown where it fails."""
    with log.open("ab") as output:
        done = subprocess.run(argv, input=stdin, text=True, stdout=output, stderr=subprocess.STDOUT)
    if done.returncode:
        last = "\n".join(log.read_text(errors="replace").splitlines()[-30:])
        raise VmError(f"{last}\nvm: {Path(argv[0]).name} failed, exit code {done.returncode}", LACKING)


def build(release: Release, *, fresh: bool) -> Path:
    """The folder of a machine of this release, from the cache if it is there: `disk.qcow2`, `key` and `known_hosts`."""
    packages = setup_packages()
    folder = cache() / recipe(release, packages)
    if fresh or not folder.exists():
        say(f"{release.name} ({release.suite}) is made from Debian packages, and kept in {folder}")
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".new-") as temporary:
            new = Path(temporary, "machine")
            new.mkdir()
            start = time.monotonic()
            _make(release, packages, new, Path(temporary))
            say(f"made in {time.monotonic() - start:.0f} s")
            shutil.rmtree(folder, ignore_errors=True)
            new.rename(folder)
    return folder


def _make(release: Release, packages: list[str], new: Path, work: Path) -> None:
    # An ordinary user is root of a user namespace here, with the owners that /etc/subuid grants.
    as_root: list[str | Path] = [] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--map-auto"]
    log, key, tree, raw = work / "log", new / "key", work / "root", work / "disk.raw"
    checked(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "port25lab", "-f", key], log)
    hooks = [
        "--essential-hook=echo postfix postfix/main_mailer_type select No configuration"
        ' | chroot "$1" debconf-set-selections',
        *(f"--customize-hook=copy-in {shlex.quote(str(own))} {OWN_AUTHORITIES}" for own in own_authorities()),
        f"--customize-hook=upload {shlex.quote(str(key))}.pub /tmp/key.pub",
        f"--customize-hook=upload {shlex.quote(str(GUEST))} /tmp/vm-guest",
        '--customize-hook=chroot "$1" sh /tmp/vm-guest',
    ]
    if release.backports:
        hooks.append(f"--setup-hook={BACKPORTS.format(mirror=MIRROR, suite=release.suite)}")
    included = ",".join([*PACKAGES, *release.packages, *packages])
    options = ["--variant=minbase", "--format=tar", f"--include={included}"]
    say("mmdebstrap")
    checked(["mmdebstrap", *options, *hooks, release.suite, work / "root.tar"], log)
    say("disk image")
    tree.mkdir()
    try:
        checked([*as_root, "tar", "-x", "-C", tree, "-f", work / "root.tar", "--exclude=./dev/*"], log)
        (work / "root.tar").unlink()
        _write_disk(tree, raw, as_root, log)
        host_key = (tree / "etc" / "ssh" / "ssh_host_ed25519_key.pub").read_text(encoding="utf-8")
    finally:
        subprocess.run([*as_root, "rm", "-rf", tree])
    (new / "known_hosts").write_text(f"port25lab {host_key}", encoding="utf-8")
    checked(["qemu-img", "convert", "-O", "qcow2", raw, new / "disk.qcow2"], log)


def _write_disk(tree: Path, raw: Path, as_root: list[str | Path], log: Path) -> None:
    """One partition with the tree, and GRUB before it."""
    with raw.open("wb") as disk:
        disk.truncate(DISK)
    checked(["sfdisk", "--quiet", raw], log, stdin="label: dos\nstart=2048, type=83, bootable\n")
    place = [f"offset={MEBIBYTE}", "lazy_itable_init=1"]
    blocks = f"{(DISK - MEBIBYTE) // 1024}k"
    ext4 = ["mke2fs", "-q", "-t", "ext4", "-L", "port25lab", "-E", ",".join(place)]
    checked([*as_root, *ext4, "-d", tree, raw, blocks], log)
    _write_boot_loader(raw, tree / "boot" / "grub")


def _write_boot_loader(disk: Path, grub: Path) -> None:
    """Write GRUB's first part before the partition table, its second into the room before the first partition."""
    first, second = (grub / "boot.img").read_bytes()[:440], (grub / "core.img").read_bytes()
    if len(second) > MEBIBYTE - 512:
        raise VmError("GRUB does not fit before the first partition", LACKING)
    with disk.open("r+b") as file:
        file.write(first)
        file.seek(512)
        file.write(second)


def pack(folder: Path, box: Path, log: Path) -> None:
    """Write a box of vagrant-libvirt: the disk, metadata and a Vagrantfile that names the key."""
    image = log.parent / "box.img"
    checked(["qemu-img", "convert", "-c", "-O", "qcow2", folder / "disk.qcow2", image], log)
    metadata = {"provider": "libvirt", "format": "qcow2", "virtual_size": DISK >> 30}
    (log.parent / "metadata.json").write_text(json.dumps(metadata), encoding="utf-8")
    (log.parent / "Vagrantfile").write_text(BOX_FILE, encoding="utf-8")
    shutil.copy(folder / "key", log.parent / "key")
    part = box.with_name(f".{box.name}.part")
    with (
        open(part, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file,
        tarfile.open(fileobj=file, mode="w") as archive,
    ):
        for name in ("metadata.json", "Vagrantfile", "key", "box.img"):
            archive.add(log.parent / name, name)
    part.replace(box)
