"""Drives research plans: phases as processes of their own, found again by whoever drives the plan next."""
