"""What is kept, pushed to the Hugging Face hub in one commit, to a data set that holds nothing yet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data.sources.source import ImageSource
from ..errors import TenpercentError, UsageError, one_line, require
from .hf import fill
from .kept import Kept
from .summary import ExportFormat, ExportSummary
from .targets import building

OWN = {".gitattributes", ".gitignore"}  # files that the hub makes itself


@dataclass(frozen=True)
class HubSet:
    """A data set on the hub, to push to.

    Attributes:
        name: ``NAME`` or ``OWNER/NAME``; made if it isn't there.
        private: whether its owner alone can see it.
        scratch: the place for the files before they are sent; removed afterwards.
    """

    name: str
    private: bool
    scratch: Path


def push_dataset(kept: Kept, source: ImageSource, to: HubSet, card: str) -> ExportSummary:
    """Push the kept images to the hub as Parquet files with a data card; see `hf.write_dataset`.

    The hub's own library knows who pushes, by its login or HF_TOKEN; that is neither read nor kept here.

    Raises:
        UsageError: the data set holds files already, is private or public unlike asked, or its name can't be one.
        MissingExtraError: the packages `datasets` and `huggingface_hub` are not installed.
        TenpercentError: the hub refuses or can't be reached; an image can't be read; the scratch can't be written.
    """
    datasets, hub = require("datasets", "export"), require("huggingface_hub", "export")
    api = hub.HfApi()
    with asking(hub, to.name):
        repo = api.create_repo(to.name, repo_type="dataset", private=to.private, exist_ok=True).repo_id
        there = api.dataset_info(repo)
    files = sorted({one.rfilename for one in there.siblings or ()} - OWN)
    if files:
        raise UsageError(
            f"{repo} holds {files[0]} already, and a push never overwrites; choose another --push"
        )
    if bool(there.private) != to.private:
        is_now, remedy = ("private", "leave out --public") if there.private else ("public", "add --public")
        raise UsageError(f"{repo} is {is_now}; {remedy}, or choose another --push")
    with building(to.scratch) as temporary:
        fill(datasets, kept, source, temporary / "kept", card)
        with asking(hub, repo):
            api.upload_folder(
                repo_id=repo,
                repo_type="dataset",
                folder_path=temporary / "kept",
                commit_message=f"Add {len(kept):,} images",
            )
    said = f"{'private' if to.private else 'public'}: {api.endpoint}/datasets/{repo}"
    return ExportSummary(ExportFormat.HF, (Path(f"hf:{repo}"),), len(kept), (said,))


@contextmanager
def asking(hub: Any, name: str) -> Iterator[None]:
    """Turn what the hub refuses into an error of one line."""
    try:
        yield
    except hub.errors.HFValidationError as error:
        raise UsageError(
            f"--push is {name!r}, which is no name on the hub ({one_line(error)}); give OWNER/NAME"
        ) from None
    except (hub.errors.HfHubHTTPError, hub.errors.LocalTokenNotFoundError) as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        denied = status in (None, 401, 403)
        remedy = "log in with: hf auth login, by a token that may write" if denied else "try again later"
        said = f"{status}: " if status else ""
        raise TenpercentError(f"the hub refuses {name} ({said}{one_line(error, 150)}); {remedy}") from None
    except (hub.errors.HTTPError, OSError) as error:  # the first is of the library by which it asks
        raise TenpercentError(
            f"the hub can't be reached to push {name} ({one_line(error, 150)}); try again, or export with --to"
        ) from None
