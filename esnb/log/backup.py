"""Backup and restore: a folder that is itself a log, made of whole files only."""

from __future__ import annotations

import os
import shutil
from contextlib import nullcontext
from pathlib import Path

from esnb.errors import DamagedLogError, LogError, LogExistsError
from esnb.log import files, locks
from esnb.log import manifest as manifests
from esnb.log.layout import Identity, Layout
from esnb.log.snapshot import Snapshots
from esnb.log.tail import Tail
from esnb.log.verified import Verified

__all__ = ["backup", "restore"]


def backup(layout: Layout, target: Path, timeout: float, *, read_only: bool) -> Path:
    """Copy a log while others write to it; see `Log.backup`.

    Segments never change, so those that an earlier backup has are not copied
    again.  ``log.json`` comes last: a backup that was cut off is no log.
    """
    copy = Layout(target)
    with files.storage_errors(target, "backing up"):
        if copy.identity.exists():
            theirs, ours = Identity.read(copy), Identity.read(layout)
            if theirs.log_id != ours.log_id:
                raise LogExistsError(f"{target} holds another log; choose another folder")
        elif target.exists() and any(target.iterdir()):
            raise LogError(f"{target} is not empty and holds no log; choose another folder")
        for folder in (copy.root, copy.events, copy.manifests):
            folder.mkdir(parents=True, exist_ok=True)
        # Nothing is sealed or taken away meanwhile; appends go on.
        # (On a read-only medium no lock can be taken, and none is needed.)
        with nullcontext() if read_only else locks.held(layout.maintain_lock, timeout):
            unfinished = files.temporary(copy.root)
            source = Tail(layout.tail, read_only=read_only)
            try:
                source.copy_to(unfinished)
            finally:
                source.close()
            newest = manifests.newest(layout)
            verified = Verified(Identity.read(layout).log_id, "always")
            for segment in newest.segments:
                place = copy.events / segment.name
                if not place.exists():
                    verified.check(segment)
                    place.parent.mkdir(exist_ok=True)
                    _copy(segment.path, place)
            for number in manifests.numbers(layout):
                if not copy.manifest(number).exists():
                    _copy(layout.manifest(number), copy.manifest(number))
            files.sync_file(unfinished)
            for suffix in ("-wal", "-shm"):
                copy.tail.with_name(copy.tail.name + suffix).unlink(missing_ok=True)
            os.rename(unfinished, copy.tail)
            files.sync_folder(copy.root)
            if not copy.identity.exists():
                _copy(layout.identity, copy.identity)
    return target


def restore(source: Path, target: Path) -> Path:
    """Copy a backup to a new place and check that it is whole; see `esnb.restore`."""
    layout = Layout(source)
    identity = Identity.read(layout)
    if target.exists() and any(target.iterdir()):
        raise LogExistsError(f"{target} is not empty; restore into a new folder")
    verified = Verified(identity.log_id, "always")
    newest = manifests.newest(layout)
    for segment in newest.segments:
        verified.check(segment)
    for _ in manifests.chain(layout):
        pass
    tail = Tail(layout.tail, read_only=True)
    try:
        tail.check_all()
        Snapshots(layout, verified).take(tail)
        with files.storage_errors(target, "restoring"):
            copy = Layout(target)
            for folder in (copy.root, copy.events, copy.manifests):
                folder.mkdir(parents=True, exist_ok=True)
            for segment in newest.segments:
                place = copy.events / segment.name
                place.parent.mkdir(exist_ok=True)
                _copy(segment.path, place)
            for number in manifests.numbers(layout):
                _copy(layout.manifest(number), copy.manifest(number))
            tail.copy_to(copy.tail)
            files.sync_file(copy.tail)
            _copy(layout.identity, copy.identity)
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise
    finally:
        tail.close()
    return target


def _copy(source: Path, target: Path) -> None:
    """Copy a file under its name only once it is whole and synced."""
    unfinished = files.temporary(target.parent)
    try:
        try:
            shutil.copyfile(source, unfinished)
        except FileNotFoundError:
            raise DamagedLogError(source, "the file is missing") from None
        files.sync_file(unfinished)
        os.rename(unfinished, target)
        files.sync_folder(target.parent)
    finally:
        unfinished.unlink(missing_ok=True)
