"""What can go wrong, one small exception per cause. The command line prints the message and exits with `exit_code`."""

import contextlib
import json
import sys
import traceback
from pathlib import Path

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_WRONG_USE = 2
EXIT_AUDIT_FAILED = 3

CAUSE_FILE = "error.json"  # beside what a job writes: {error, exit_code}, for whoever cannot see how it ended


class NightmarketError(Exception):
    """A failure that a person can act on: the message is one line that says what, where, what was expected, what to do."""

    exit_code = EXIT_FAILED


class WrongUseError(NightmarketError):
    """The call itself is wrong: an unknown shop, a malformed configuration, a date that is no date."""

    exit_code = EXIT_WRONG_USE


class ConfigError(WrongUseError):
    """A configuration file that cannot be read, has an unknown key or a value out of range."""


class NoDataError(NightmarketError):
    """The night has nothing to work on: no landed line, no event, no earlier table."""


class LandingError(NightmarketError):
    """A landing folder, prefix or file that is missing, unreadable or changed while it was read."""


class StorageError(NightmarketError):
    """The store refused a write: a full disk, no permission, a folder that is not ours."""


class LockedError(NightmarketError):
    """Another live process works on the same shop and night."""


class AccountingError(NightmarketError):
    """Clean, duplicate and quarantined lines do not add up to the lines read."""


class InfeasibleError(NightmarketError):
    """Limits of the plan that cannot hold together; the message names the smallest set that contradicts itself."""


class JobError(NightmarketError):
    """A process started by a stage failed; the message carries the last line it wrote and where its log is."""


class WeightsError(NightmarketError):
    """Pretrained weights that cannot be fetched, unpacked or trusted."""


class TrainingError(NightmarketError):
    """A model that cannot be fitted, saved or loaded: too few examples, one class only, a loss that is no number."""


class OffPolicyError(NightmarketError):
    """A log of decisions that no policy can be judged on: no propensities, no reward, an outcome told twice."""


class RegistryError(NightmarketError):
    """The model registry does not answer, or what it holds is not what was registered."""


class ServerError(NightmarketError):
    """Airflow or MLflow that cannot be started or does not become healthy."""


class AuditError(NightmarketError):
    """A table broke its suite; nothing of the stage was published."""

    exit_code = EXIT_AUDIT_FAILED


def tell_cause(error: Exception, out: Path) -> int:
    """How a job says why it failed: last on standard error and in <out>/CAUSE_FILE; returns the exit code."""
    known = isinstance(error, NightmarketError)
    text = " ".join((str(error) if known else f"{type(error).__name__}: {error}").split())
    code = error.exit_code if isinstance(error, NightmarketError) else EXIT_FAILED
    if not known:
        traceback.print_exception(error)
    print(text, file=sys.stderr)
    with contextlib.suppress(OSError):  # on a full disk the log has to do
        (out / CAUSE_FILE).write_text(json.dumps({"error": text, "exit_code": code}))
    return code
