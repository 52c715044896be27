"""How scfm-mini is made: studies, profiles, gene embedding, head. Used by scripts/train_mini.py and benchmarks/."""
