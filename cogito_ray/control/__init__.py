"""Watching and steering sweeps from other processes than their own: functions, and a page in the browser."""
