"""Everything divmon knows of transformers' and TRL's trainers."""
