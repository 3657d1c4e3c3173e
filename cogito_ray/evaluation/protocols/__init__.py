"""How a frozen or fine-tuned encoder answers a task: zero-shot, linear probe, fine-tuning, whole documents."""
