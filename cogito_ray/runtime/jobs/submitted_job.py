"""One command as a job of a cluster: started once, followed over lost connections, ended with its own exit status."""

import asyncio
import hashlib
import logging
import shlex
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import aiohttp
from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobStatus, JobSubmissionClient

from cogito_ray.runtime.jobs.job_files import JobFiles

PATIENCE_S, PAUSE_S = 600.0, 2.0
"""Without any answer, until a job is no longer followed; between two attempts."""
ENVIRONMENT = {
    "PYTHONPATH": ".",
    "RAY_ADDRESS": "auto",
    "RAY_JOB_STOP_SIGNAL": "SIGINT",  # which ends a sweep in order; by default it would be killed
    "RAY_JOB_STOP_WAIT_TIME_S": "60",
}
"""Of every job. It stands in Ray's own records, so no secret may be in it: those belong to the machines."""
GONE = "no longer knows it: its head was started anew; the same command submits it again, and resumes"


@dataclass
class SubmittedJob:
    """A job of the cluster at `address`. `is_new`: or did it run before? `printed`: characters of its log, by now."""

    client: JobSubmissionClient
    address: str
    id: str
    is_new: bool
    printed: int = 0

    def follow(self, tell: Callable[[str], object]) -> int:
        """Its exit status, when it has ended. `tell` is given all that it prints, once, whatever becomes of the
        connection. ConnectionError where there is none for ten minutes; ValueError where the cluster has forgotten it.
        """
        heard = time.monotonic()
        while True:
            before = self.printed
            try:
                asyncio.run(self._tail(tell))
                if (details := self.client.get_job_info(self.id)).status.is_terminal():
                    return _exit_status(details)
                heard = time.monotonic()
            except (OSError, RuntimeError, aiohttp.ClientError) as lost:
                heard = time.monotonic() if self.printed > before else heard
                if "status code 404" in str(lost):
                    raise ValueError(f"{self.id}: {self.address} {GONE}") from None
                if time.monotonic() - heard > PATIENCE_S:
                    why = f"did not answer for {PATIENCE_S:.0f} s ({lost})"
                    raise ConnectionError(
                        f"{self.address} {why}; {self.id} may go on: the same command tells"
                    ) from lost
            time.sleep(PAUSE_S)

    @property
    def stop_command(self) -> str:
        """By which anybody with the token ends it in order."""
        return f"ray job stop {self.id} --address {self.address}"

    async def _tail(self, tell: Callable[[str], object]) -> None:
        """Each connection gives the log from its beginning."""
        seen = 0
        async for text in self.client.tail_job_logs(self.id):
            fresh = text[max(self.printed - seen, 0) :]
            seen += len(text)
            if fresh:
                tell(fresh)
                self.printed += len(fresh)


def submit(address: str, files: JobFiles, name: str, commands: Sequence[Sequence[str]]) -> SubmittedJob:
    """Start `commands`, each if the one before it succeeded, or find the job of this `name` that does so already.

    ValueError where that one has other settings, or the token is missing or wrong; ConnectionError.
    """
    client = connect(address)
    jobs = {job.submission_id or "": job for job in client.list_jobs()}
    earlier = {int(number): key for key in jobs if (number := key.removeprefix(f"{name}-")).isdecimal()}
    newest = max(earlier, default=0)
    if newest and not (running := jobs[earlier[newest]]).status.is_terminal():
        found = SubmittedJob(client, address, earlier[newest], is_new=False)
        if (running.metadata or {}).get("settings") != files.digest:
            way = f"wait, stop it ({found.stop_command}), or give this one another name"
            raise ValueError(f"job {found.id} runs with other settings by this name; {way}")
        return found
    width = {"COLUMNS": str(shutil.get_terminal_size().columns)}
    try:
        started = client.submit_job(
            entrypoint=" && ".join(map(shlex.join, commands)),
            submission_id=f"{name}-{newest + 1}",
            runtime_env={"working_dir": str(files.folder), "env_vars": ENVIRONMENT | width},
            metadata={"settings": files.digest},
        )
    except RuntimeError as fault:
        if "already exists" not in str(fault):
            raise
        return submit(address, files, name, commands)  # somebody else was quicker
    return SubmittedJob(client, address, started, is_new=True)


def connect(address: str) -> JobSubmissionClient:
    """ValueError for no address of a dashboard, and where the token is missing or wrong; ConnectionError."""
    if not address.startswith(("http://", "https://")):
        raise ValueError(f"{address!r} is no address of Ray's dashboard, such as http://127.0.0.1:8265")
    logging.getLogger("ray").setLevel(logging.WARNING)  # else it tells of every file and connection
    try:
        return JobSubmissionClient(address)
    except AuthenticationError as fault:
        given = "the one given is wrong" if str(fault).startswith("Authentication failed") else "none was given"
        raise ValueError(
            f"{address} asks for a token, and {given}; set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN, or put into "
            "~/.ray/auth_token what `ray get-auth-token` prints on the head"
        ) from None


def job_name(command: str, name: str, storage: str) -> str:
    """The same for the same work, and for nothing else: of which command, below which storage."""
    return f"cogito-{command}-{name}-{hashlib.sha256(f'{command} {name} {storage}'.encode()).hexdigest()[:8]}"


def _exit_status(details: JobDetails) -> int:
    if details.status != JobStatus.FAILED:
        return 0 if details.status == JobStatus.SUCCEEDED else 130  # stopped, as by Ctrl-C
    code = details.driver_exit_code or 1
    return code if code > 0 else 128 - code
