"""How good is the doctor? Sick runs and healthy ones that look ill, trained, examined and scored, peers beside it."""
