"""Research plans: phases, what they wait for, gates that choose among them, and what is due. Knows no Ray."""
