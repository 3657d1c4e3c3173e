"""Modules of concept encoders and their decoders. Pure torch: no Ray, no files, no environment.

Axes, everywhere in this package:
    B batch    N tokens of a row    K visible tokens    M targets    C concepts
    D width of concepts    T width of tokens    H heads    V vocabulary
S stands for any sequence (tokens, concepts or queries). Randomness at construction is torch's global generator.
"""
