"""Everything that touches Ray. No other package imports it, so a change in Ray is a change in this folder.

Ray reads these settings when it is imported, which therefore happens below this package only.
"""

import os

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",  # Tune prints a box and a table of its own otherwise, even at verbose=0
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the ledger is the record
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.1",  # the Train controller takes reports at this pace; 2 s by default
    "RAY_TRAIN_ENABLE_STATE_TRACKING": "1",  # Ray's dashboard lists runs
    "TOKENIZERS_PARALLELISM": "false",
}
for _name, _value in QUIET.items():
    os.environ.setdefault(_name, _value)
