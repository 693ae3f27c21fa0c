"""Episodes spread over processes of this machine or of a Ray cluster: the pool, a process as a worker, and a cluster's actor as one."""

from opengato.jobs.pool import TIMEOUT_S, Job, Result, Workers
from opengato.jobs.process import Begun, Done, Failed, describe

__all__ = ["TIMEOUT_S", "Begun", "Done", "Failed", "Job", "Result", "Workers", "describe"]
