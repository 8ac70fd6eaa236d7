"""Finds a data set that tensorflow-datasets has prepared, and prepares one that it has not."""

from __future__ import annotations

import io
import os
import threading
from contextlib import redirect_stdout
from pathlib import Path

import tensorflow as tf
import tensorflow_datasets as tfds

from drnet_tf.data.errors import DataError

_PROBE_SECONDS = 5


def prepared_builder(
    name: str, data_dir: str | None, *, download: bool = True
) -> tfds.core.DatasetBuilder:
    """Returns a builder whose data is on disk.

    A prepared copy is opened from its files: nothing is written, no network is used, and the
    version need not be the one that the installed tensorflow-datasets would prepare. Arguments and
    errors are those of `open_dataset`.
    """
    folder = os.path.expanduser(data_dir or tfds.core.constants.DATA_DIR)
    builder = _open(name, folder)
    if builder is not None:
        return builder
    unprepared = _unprepared_builder(name, folder)
    if name == "digits":
        # Nothing to download, so `download=False` does not forbid it.
        # Done in a second, and announced as a download, which it is not: leave that out.
        tfds.disable_progress_bar()
        try:
            with redirect_stdout(io.StringIO()):
                _prepare(unprepared, name, folder)
        finally:
            tfds.enable_progress_bar()
    else:
        _check_obtainable(unprepared, name, folder, download)
        _prepare(unprepared, name, folder)
    builder = _open(name, folder)
    if builder is None:
        raise DataError(_missing(name, folder))
    return builder


def _open(name: str, folder: str) -> tfds.core.DatasetBuilder | None:
    """Opens the builder of a prepared copy in `folder`, None if there is none."""
    try:
        return tfds.core.read_only_builder.builder_from_files(name, data_dir=folder)
    except tfds.core.registered.DatasetNotFoundError:
        return None
    except Exception as error:  # JSON, protobuf, feature and file errors, whatever is damaged
        raise DataError(
            f"The prepared copy of {name} in {folder} cannot be read ({_first_line(error)}): "
            "prepare it again or copy it again."
        ) from error


def _unprepared_builder(name: str, folder: str) -> tfds.core.DatasetBuilder:
    if name == "digits":
        from drnet_tf.data.digits import Digits

        try:
            return Digits(data_dir=folder)
        except OSError as error:
            raise DataError(_unwritable(name, folder, error)) from error
    try:
        return tfds.builder(name, data_dir=folder, try_gcs=False)
    except tfds.core.registered.DatasetNotFoundError as error:
        raise DataError(
            f"Unknown data set {name!r}, and {folder} holds no prepared copy of it: use digits, "
            "cifar10, cifar100, imagenet2012 or another image-classification set of "
            "tensorflow-datasets."
        ) from error
    except Exception as error:
        raise DataError(
            f"tensorflow-datasets cannot open {name!r} ({_first_line(error)}): check the name, its "
            "configuration and --data_dir."
        ) from error


def _check_obtainable(
    builder: tfds.core.DatasetBuilder, name: str, folder: str, download: bool
) -> None:
    """Fails within seconds where a download would only fail after minutes of retries."""
    if builder.MANUAL_DOWNLOAD_INSTRUCTIONS is not None:
        manual = Path(folder) / "downloads" / "manual"
        if not download or not manual.is_dir() or not any(manual.iterdir()):
            raise DataError(
                f"{name} is not prepared in {folder}: give a prepared copy with --data_dir=DIR, or "
                f"put the archives that its licence makes you fetch yourself into {manual} and let "
                "tensorflow-datasets prepare them."
            )
        return
    if not download or not _reachable(next(iter(builder.url_infos or ()), None)):
        raise DataError(_missing(name, folder))


def _prepare(builder: tfds.core.DatasetBuilder, name: str, folder: str) -> None:
    try:
        # Prepared in a folder "incomplete.*" that is renamed at the end: a kill leaves no half set.
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(try_download_gcs=False)
        )
    except Exception as error:
        if _open(name, folder) is not None:
            return  # another process prepared the same set at the same time
        # requests' network errors are OSErrors too, but without an errno of the file system.
        if isinstance(error, PermissionError) or getattr(error, "errno", None) in (28, 30):
            raise DataError(_unwritable(name, folder, error)) from error
        if name == "digits" or not isinstance(
            error, OSError | tf.errors.OpError | tfds.core.download.DownloadError
        ):
            raise DataError(
                f"Preparing {name} in {folder} failed ({_first_line(error)}): give a prepared copy "
                "with --data_dir=DIR."
            ) from error
        raise DataError(_missing(name, folder)) from error


def _reachable(url: str | None) -> bool:
    """Tells whether a server answers at all, through a proxy if the environment names one."""
    import requests

    answered = threading.Event()

    def probe() -> None:
        try:
            requests.head(url or "https://www.tensorflow.org", timeout=_PROBE_SECONDS)
        except requests.RequestException:
            return
        answered.set()

    # In a thread, because looking up a host name can hang for minutes past any timeout.
    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    thread.join(_PROBE_SECONDS + 1)
    return answered.is_set()


def _missing(name: str, folder: str) -> str:
    return (
        f"{name} is not prepared in {folder} and could not be downloaded: give a prepared copy "
        "with --data_dir=DIR, or run once on a machine with network access and let "
        "tensorflow-datasets download it."
    )


def _unwritable(name: str, folder: str, error: Exception) -> str:
    return (
        f"Cannot prepare {name} in {folder} ({_first_line(error)}): give a folder that can be "
        "written with --data_dir=DIR."
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
