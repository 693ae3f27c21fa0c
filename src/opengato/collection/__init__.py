"""Experts at work, recorded as Minari datasets.

Every finished episode is first staged on disk, atomically, so that an interruption loses none; then the staged episodes become (or
extend) the Minari dataset `opengato/<domain>/<name>-v0`. An episode is a pure function of (task, seed, noise), wherever it ran. Starts that
are kept for evaluation (see `domains.starts`) are passed over, whatever the seeds.
"""

from opengato.collection.collect import collect
from opengato.collection.record import record_episode
from opengato.collection.staging import load_episode, pack_episode, save_episode
from opengato.collection.student import Acting, Student
from opengato.domains.task import dataset_id

__all__ = ["Acting", "Student", "collect", "dataset_id", "load_episode", "pack_episode", "record_episode", "save_episode"]
