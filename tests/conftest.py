"""Settings of every test."""

import torch

torch.set_num_threads(1)            # tiny shapes gain nothing from more, and thread pools of two processes fight
