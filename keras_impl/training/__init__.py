"""From a model and a recipe to the best checkpoint."""
