"""The papers' models, trained with one small budget."""
