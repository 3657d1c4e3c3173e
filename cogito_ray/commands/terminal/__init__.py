"""What a command says at its end. Only commands import it."""
